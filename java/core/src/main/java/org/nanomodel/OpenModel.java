package org.nanomodel;

import static java.util.stream.Collectors.joining;

import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ImageCache;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.events.LoadEvent;
import org.nanomodel.generate.GenerationLoop;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.Linear;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * What a {@link NanoModel} stands on: an engine and a directory, and its tokenizer, graph and
 * generation loop, each made at the first use. Another directory may take the place of the first;
 * {@link #close} frees everything once.
 */
final class OpenModel implements AutoCloseable {
  private final Engine engine;
  private final Adapter adapter;
  private final Optional<Path> imageCache;
  // Held while the model changes: loading, quantizing, closing. What is there already is read
  // without it, so that a listener may ask for it while another thread waits for its end.
  private final ReentrantLock change = new ReentrantLock();
  private volatile ModelDirectory directory;
  private volatile Config config;
  private volatile CausalModel graph;
  private volatile GenerationLoop loop;
  private volatile Optional<Tokenizer> tokenizer;
  private volatile boolean closed;
  private Path work;

  private OpenModel(Engine engine, Path path, Adapter adapter, Optional<Path> imageCache) {
    this.engine = engine;
    this.adapter = adapter;
    this.imageCache = imageCache;
    this.directory = ModelDirectory.open(path, engine);
    try {
      this.config = directory.config();
      directory.requireReadable();
    } catch (RuntimeException e) {
      directory.close();
      throw e;
    }
  }

  static OpenModel open(Path path, EngineOptions options, Adapter adapter) {
    Engine engine = Engine.open(options);
    try {
      return new OpenModel(engine, path, adapter, options.imageCache());
    } catch (RuntimeException | Error e) {
      engine.close();
      throw e;
    }
  }

  Engine engine() {
    checkOpen();
    return engine;
  }

  ModelDirectory directory() {
    checkOpen();
    return directory;
  }

  Config config() {
    checkOpen();
    return config;
  }

  Optional<Tokenizer> tokenizer() {
    checkOpen();
    Optional<Tokenizer> known = tokenizer;
    return known != null ? known : changing(this::openTokenizer);
  }

  private Optional<Tokenizer> openTokenizer() {
    if (tokenizer == null) {
      Optional<Tokenizer> found = Tokenizer.find(directory.path());
      try {
        found.ifPresent(t -> t.requireWithin(config.vocabSize()));
      } catch (BadModelException e) {
        found.get().close();
        throw e;
      }
      tokenizer = found;
    }
    return tokenizer;
  }

  CausalModel graph() {
    checkOpen();
    CausalModel known = graph;
    return known != null ? known : changing(this::loadGraph);
  }

  private CausalModel loadGraph() {
    if (graph == null) {
      var event = new LoadEvent();
      event.begin();
      graph =
          imageCache.isPresent()
              ? ImageCache.of(imageCache.get(), engine).load(directory, this::graphOf)
              : graphOf(directory);
      record(event);
    }
    return graph;
  }

  private CausalModel graphOf(Weights weights) {
    return adapter.load(engine, config, directory.path(), weights);
  }

  private void record(LoadEvent event) {
    event.end();
    if (event.shouldCommit()) {
      event.model = directory.path().toString();
      event.layers = config.layers();
      event.bytes = graph.bytes();
      event.device = engine.device().toString();
      event.tier = engine.tier();
      event.kernels =
          graph.linears().stream().map(Linear::kernel).distinct().collect(joining(", "));
      event.threads = engine.threads();
      event.commit();
    }
  }

  GenerationLoop loop() {
    GenerationLoop known = loop;
    if (known != null && !known.isClosed()) {
      checkOpen();
      return known;
    }
    return changing(() -> {
      if (loop == null || loop.isClosed()) {
        loop = new GenerationLoop(graph(), tokenizer());
      }
      return loop;
    });
  }

  /** Runs what changes an open model; others who do wait. */
  <T> T changing(Supplier<T> action) {
    change.lock();
    try {
      checkOpen();
      return action.get();
    } finally {
      change.unlock();
    }
  }

  /** Another directory in the place of this one, whose graph and loop are gone. */
  void standOn(Path path) {
    var next = ModelDirectory.open(path, engine);
    if (loop != null) {
      loop.close();
      loop = null;
    }
    if (graph != null) {
      graph.close();
      graph = null;
    }
    directory.close();
    directory = next;
    config = next.config();
  }

  /** A directory that goes when the model does. */
  void removeAtClose(Path directory) {
    work = directory;
  }

  void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the model is closed");
    }
  }

  /** Cancels what is generated, waits for other calls, frees everything; the first time. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    boolean inside =
        change.isHeldByCurrentThread()
            || loop != null && loop.isOwnThread()
            || graph != null && graph.isUsedByThisThread();
    if (inside) {
      throw new IllegalStateException("the model cannot be closed by a listener that it calls");
    }
    change.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
    } finally {
      change.unlock();
    }
    free(); // without the lock: those who are waited for may still ask for things
  }

  private void free() {
    if (loop != null) {
      loop.close();
    }
    if (graph != null) {
      graph.close();
    }
    if (tokenizer != null) {
      tokenizer.ifPresent(Tokenizer::close);
    }
    directory.close();
    engine.close();
    if (work != null) {
      DurableFiles.deleteTree(work);
    }
  }
}
