package org.nanomodel.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.nanomodel.Device;
import org.nanomodel.NanoModelException;
import org.nanomodel.Version;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.ForwardingWeights;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.PackedImage;

/**
 * A folder that keeps the packed linears of models: the next load maps them instead of reading and
 * packing. A file's name is a hash of all that its images depend on: the bytes of the weights, the
 * configs that say how to read them, this library's version, and how the engine packs. So nothing
 * in it is ever stale; files are written beside their name and renamed, by as many processes as
 * like, and any may be deleted at any time. What cannot be read or written is a warning in the log,
 * and the model loads as without a cache.
 */
public final class ImageCache {
  private static final System.Logger LOG = System.getLogger(ImageCache.class.getName());
  private static final String SUFFIX = ".images";

  /**
   * To be raised when the same checkpoint is to give other images, or {@link ImageFile} changes.
   */
  private static final int FORMAT = 1;

  /** After which a file that a killed process has left under a temporary name is removed. */
  private static final Duration ABANDONED = Duration.ofDays(1);

  private final Path folder;
  private final Engine engine;
  private final InstantSource clock;

  private ImageCache(Path folder, Engine engine, InstantSource clock) {
    this.folder = folder;
    this.engine = engine;
    this.clock = clock;
  }

  /** A folder, made when something is written, for models on this engine. */
  public static ImageCache of(Path folder, Engine engine) {
    return of(folder, engine, InstantSource.system());
  }

  static ImageCache of(Path folder, Engine engine, InstantSource clock) {
    return new ImageCache(folder, engine, clock);
  }

  /**
   * Loads a model from the images that the folder has of it, or as without them, and then keeps its
   * images.
   *
   * @param load what a graph is made with, from weights that know the images
   */
  public CausalModel load(ModelDirectory directory, Function<Weights, CausalModel> load) {
    if (engine.device().kind() != Device.Kind.CPU) {
      return load.apply(directory);
    }
    Path path;
    List<String> stamps;
    Optional<ImageFile> found;
    try {
      stamps = stamps(directory);
      path = folder.resolve(key(directory) + SUFFIX);
      found = open(path);
    } catch (IOException | NanoModelException e) {
      warn("cannot use", folder, e);
      return load.apply(directory);
    }
    if (found.isPresent()) {
      try (ImageFile images = found.get()) {
        return load.apply(new Known(directory, images));
      } catch (IOException e) {
        throw DurableFiles.failed("close", path, e);
      }
    }
    CausalModel model = load.apply(directory);
    write(path, directory, stamps, model);
    return model;
  }

  private static Optional<ImageFile> open(Path path) {
    if (!Files.exists(path)) {
      return Optional.empty();
    }
    try {
      return Optional.of(ImageFile.open(path));
    } catch (IOException | RuntimeException e) {
      warn("packing anew instead of reading", path, e);
      return Optional.empty();
    }
  }

  private void write(Path path, ModelDirectory directory, List<String> stamps, CausalModel model) {
    try {
      if (!stamps.equals(stamps(directory))) {
        return; // the images are not those of the hash
      }
      Files.createDirectories(folder);
      removeAbandoned();
      ImageFile.write(path, model.linears());
    } catch (IOException | NanoModelException e) {
      warn("cannot keep the images in", path, e);
    }
  }

  private void removeAbandoned() throws IOException {
    FileTime before = FileTime.from(clock.instant().minus(ABANDONED));
    try (var files = Files.newDirectoryStream(folder, "*" + SUFFIX + ".tmp-*")) {
      for (Path file : files) {
        if (Files.getLastModifiedTime(file).compareTo(before) < 0) {
          Files.deleteIfExists(file);
        }
      }
    }
  }

  private static void warn(String what, Path path, Exception e) {
    LOG.log(System.Logger.Level.WARNING, "image cache: {0} {1}: {2}", what, path, e.getMessage());
  }

  private static List<Path> files(ModelDirectory directory) {
    var files = new ArrayList<Path>(directory.weightFiles());
    files.add(directory.path().resolve("config.json"));
    Path quantization = directory.path().resolve("quantize_config.json");
    if (Files.exists(quantization)) {
      files.add(quantization);
    }
    return files;
  }

  private static List<String> stamps(ModelDirectory directory) {
    return files(directory).stream().map(FileHashes::stamp).toList();
  }

  private String key(ModelDirectory directory) throws IOException {
    var hashes = new FileHashes(folder.resolve("hashes"), clock);
    var text = new StringBuilder("images " + FORMAT + "\nversion " + Version.NUMBER + "\n");
    text.append("layout ").append(Linear.layout(engine)).append('\n');
    for (Path file : files(directory)) {
      text.append(file.getFileName()).append(' ').append(hashes.sha256(file)).append('\n');
    }
    return DurableFiles.sha256(text.toString());
  }

  /** A checkpoint whose linears were packed before. */
  private record Known(ModelDirectory base, ImageFile images) implements ForwardingWeights {
    @Override
    public Optional<PackedImage> image(Arena owner, List<String> modules) {
      return images.map(owner, modules);
    }
  }
}
