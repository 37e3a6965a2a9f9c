package org.nanomodel.model;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.nanomodel.events.StepEvent;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * A decoder-only language model: embedding, blocks, norm, head. A step runs the tokens of a {@link
 * Batch} through it and gives the logits of the rows that were asked for. Steps of several threads
 * run one after another; closing waits for whoever {@link #use}s it.
 */
public final class CausalModel implements AutoCloseable {
  /**
   * The most tokens of a step: prompts longer than this run in chunks, so that work memory stays
   * small.
   */
  public static final int MAX_STEP_TOKENS = 512;

  /** Sees the hidden states between layers; for tests and tools. */
  @FunctionalInterface
  public interface HiddenStates {
    /**
     * @param layer 0 = embeddings, i = output of block i - 1
     * @param x [T, dim], valid during the call
     */
    void accept(int layer, Tensor x);
  }

  private final Engine engine;
  private final Config config;
  private final TokenEmbedding embedding;
  private final List<Block> blocks;
  private final Head head;
  private final Scratch scratch;
  private final ReentrantLock step = new ReentrantLock();
  private final ReentrantReadWriteLock life = new ReentrantReadWriteLock();
  private boolean closed;

  private CausalModel(
      Engine engine, Config config, TokenEmbedding embedding, List<Block> blocks, Head head) {
    this.engine = engine;
    this.config = config;
    this.embedding = embedding;
    this.blocks = List.copyOf(blocks);
    this.head = head;
    this.scratch = new Scratch(config, Math.min(MAX_STEP_TOKENS, config.maxPositions()));
  }

  /** Loads all weights; the checkpoint may be closed afterwards. */
  public static CausalModel load(Engine engine, Config config, Weights weights) {
    TokenEmbedding embedding = TokenEmbedding.load(engine, config, weights);
    var blocks = new ArrayList<Block>();
    try (var loader = new WeightLoader(engine, weights)) {
      for (int i = 0; i < config.layers(); i++) {
        blocks.add(config.family().blocks().load(engine, config, weights, i));
      }
      Head head = Head.load(loader, config, weights, embedding);
      var model = new CausalModel(engine, config, embedding, blocks, head);
      loader.keep();
      return model;
    } catch (RuntimeException | Error e) {
      embedding.close();
      blocks.forEach(Block::close);
      throw e;
    }
  }

  public Config config() {
    return config;
  }

  public Engine engine() {
    return engine;
  }

  /** All linears, the head last. */
  public List<Linear> linears() {
    return Stream.concat(embedding.linears().stream(), withoutEmbedding()).toList();
  }

  private Stream<Linear> withoutEmbedding() {
    return Stream.concat(
        blocks.stream().flatMap(b -> b.linears().stream()), head.linears().stream());
  }

  /** Bytes of the weights in memory. */
  public long bytes() {
    return embedding.bytes() + withoutEmbedding().mapToLong(Linear::bytes).sum();
  }

  /** The most tokens of a step. */
  public int maxStepTokens() {
    return scratch.maxTokens();
  }

  /** A KV cache for so many tokens of all sequences together. */
  public KvCache newCache(long maxTokens) {
    return new KvCache(engine, config, config.layers(), maxTokens);
  }

  /** A batch for steps of up to {@link #maxStepTokens} tokens. */
  public Batch newBatch(int maxSequences, int maxContext) {
    return new Batch(config, maxStepTokens(), maxSequences, maxContext);
  }

  /** Keeps the model open until the result is closed, by the same thread. */
  public Use use() {
    life.readLock().lock();
    if (closed) {
      life.readLock().unlock();
      throw new IllegalStateException("the model is closed");
    }
    return life.readLock()::unlock;
  }

  /**
   * Whether this thread is inside of what keeps the model open: closing it here would be refused.
   */
  public boolean isUsedByThisThread() {
    return life.getReadHoldCount() > 0;
  }

  /** See {@link #use}. */
  public interface Use extends AutoCloseable {
    @Override
    void close();
  }

  /** Runs a step on the engine's own ops; see {@link #forward(Ops, Batch)}. */
  public Tensor forward(Batch batch) {
    return forward(engine.ops(), batch);
  }

  /**
   * Runs a step: the batch's tokens become part of their sequences.
   *
   * @return the logits of the rows asked for, [rows, V], or null if there are none; they belong to
   *     the batch
   */
  public Tensor forward(Ops ops, Batch batch) {
    return forward(ops, batch, null);
  }

  /** The same, with a look at the hidden states; {@code states} may be null. */
  public Tensor forward(Ops ops, Batch batch, HiddenStates states) {
    StepEvent event = begin(batch);
    try {
      Tensor x = blocks(ops, batch, states);
      Tensor logits = null;
      if (batch.rows() > 0) {
        Tensor h = batch.gathered();
        ops.embedding(h, x, batch.rowNumbers()); // rows of x by number: a gather
        logits = batch.logits();
        head.forward(ops, logits, h);
      }
      batch.advance();
      return logits;
    } finally {
      end(event);
    }
  }

  /**
   * Runs a step for the logits of all its tokens, in pieces of rows that fit {@code room}, one
   * after another.
   */
  void forward(Ops ops, Batch batch, Tensor room, Scorer.Visitor visitor, int position) {
    StepEvent event = begin(batch);
    try {
      Tensor x = blocks(ops, batch, null);
      for (long from = 0; from < x.rows(); from += room.rows()) {
        long n = Math.min(room.rows(), x.rows() - from);
        Tensor logits = room.rows(0, n);
        head.forward(ops, logits, x.rows(from, n));
        visitor.accept(position + (int) from, logits);
      }
      batch.advance();
    } finally {
      end(event);
    }
  }

  /** Runs a step for the hidden states after the last norm, [T, dim], valid during the call. */
  void forwardNormed(Ops ops, Batch batch, Consumer<Tensor> states) {
    StepEvent event = begin(batch);
    try {
      Tensor x = blocks(ops, batch, null);
      head.norm(ops, x);
      states.accept(x);
      batch.advance();
    } finally {
      end(event);
    }
  }

  private Tensor blocks(Ops ops, Batch batch, HiddenStates states) {
    Tensor x = scratch.x(batch.tokens());
    embedding.forward(ops, x, batch.ids(), batch.descriptor().positions());
    scratch.begin(ops, batch.descriptor());
    KvCache cache = batch.cache();
    for (int i = 0; i < blocks.size(); i++) {
      if (states != null) {
        states.accept(i, x);
      }
      blocks.get(i).forward(ops, scratch, x, batch.descriptor(), cache.layer(i));
    }
    if (states != null) {
      states.accept(blocks.size(), x);
    }
    return x;
  }

  private StepEvent begin(Batch batch) {
    life.readLock().lock();
    if (closed) {
      life.readLock().unlock();
      throw new IllegalStateException("the model is closed");
    }
    step.lock();
    var event = new StepEvent();
    event.begin();
    event.tokens = batch.tokens();
    event.sequences = batch.descriptor().sequences();
    event.rows = batch.rows();
    return event;
  }

  private void end(StepEvent event) {
    event.commit();
    step.unlock();
    life.readLock().unlock();
  }

  /** Waits for everyone who uses the model, then frees its weights. */
  @Override
  public void close() {
    if (life.getReadHoldCount() > 0) {
      throw new IllegalStateException("the model cannot be closed by a thread that is using it");
    }
    life.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        embedding.close();
        withoutEmbedding().forEach(Linear::close);
      }
    } finally {
      life.writeLock().unlock();
    }
  }
}
