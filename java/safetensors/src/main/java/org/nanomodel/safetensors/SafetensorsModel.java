package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * All tensors of a model in a folder, whether it is one {@code model.safetensors} or many shards
 * with a {@code model.safetensors.index.json}; the single file is preferred where both exist, as
 * Hugging Face's libraries do.
 *
 * <p>An index is not trusted: shards must be files of the same folder. Symbolic links must stay in
 * it too, except into the {@code blobs} folder of a Hugging Face cache when the model lies in that
 * cache's {@code snapshots}. Every tensor of the index must be in its shard and in no other.
 * Tensors that the index does not name are ignored, see {@link #unlisted}; the index's total_size
 * is not checked.
 */
public final class SafetensorsModel implements AutoCloseable {
  private final Path path;
  private final List<SafetensorsFile> files;
  private final Map<String, SafetensorsFile> fileOf;
  private final List<TensorInfo> tensors = new ArrayList<>();
  private final List<String> unlisted = new ArrayList<>();
  private volatile boolean closed;

  private SafetensorsModel(
      Path path, List<SafetensorsFile> files, Map<String, SafetensorsFile> fileOf) {
    this.path = path;
    this.files = List.copyOf(files);
    this.fileOf = fileOf;
    for (SafetensorsFile file : files) {
      for (TensorInfo info : file.tensors()) {
        if (fileOf.get(info.name()) == file) {
          tensors.add(info);
        } else {
          unlisted.add(info.name());
        }
      }
    }
  }

  /**
   * Opens and maps a model.
   *
   * @param path a model's folder, or one safetensors file
   * @return the open model
   * @throws SafetensorsException if a file is missing, cannot be read or is not valid
   */
  public static SafetensorsModel open(Path path) {
    return open(path, SafetensorsFile.Mode.MAP);
  }

  /**
   * Opens a model.
   *
   * @param path a model's folder, or one safetensors file
   * @param mode mapped or copied
   * @return the open model
   * @throws SafetensorsException if a file is missing, cannot be read or is not valid
   */
  public static SafetensorsModel open(Path path, SafetensorsFile.Mode mode) {
    List<SafetensorsFile> files = new ArrayList<>();
    try {
      return open(path, mode, files);
    } catch (IOException e) {
      closeAll(files);
      throw SafetensorsException.io(path, "read", e);
    } catch (Throwable e) {
      closeAll(files);
      throw e;
    }
  }

  private static SafetensorsModel open(
      Path path, SafetensorsFile.Mode mode, List<SafetensorsFile> files) throws IOException {
    if (!Files.isDirectory(path)) {
      return single(path, SafetensorsFile.open(path, mode), files);
    }
    if (exists(path.resolve(ShardedWriter.SINGLE))) {
      Path file = inside(path, ShardedWriter.SINGLE);
      return single(path, SafetensorsFile.open(file, mode), files);
    }
    if (!exists(path.resolve(ShardedWriter.INDEX))) {
      throw new SafetensorsException(
          path, "folder", "neither of them", ShardedWriter.SINGLE + " or " + ShardedWriter.INDEX);
    }
    Path index = inside(path, ShardedWriter.INDEX);
    Map<String, String> weightMap = ShardIndex.read(index);
    Map<String, Path> paths = new LinkedHashMap<>();
    for (String shard : new LinkedHashSet<>(weightMap.values())) {
      paths.put(shard, inside(path, shard));
    }
    Map<String, SafetensorsFile> byShard = new HashMap<>();
    for (var entry : paths.entrySet()) {
      SafetensorsFile file = SafetensorsFile.open(entry.getValue(), mode);
      files.add(file);
      byShard.put(entry.getKey(), file);
    }
    return new SafetensorsModel(path, files, match(index, weightMap, byShard));
  }

  private static SafetensorsModel single(
      Path path, SafetensorsFile file, List<SafetensorsFile> files) {
    files.add(file);
    Map<String, SafetensorsFile> fileOf = HashMap.newHashMap(file.tensors().size());
    file.tensors().forEach(info -> fileOf.put(info.name(), file));
    return new SafetensorsModel(path, files, fileOf);
  }

  /** Index and shards must agree. */
  private static Map<String, SafetensorsFile> match(
      Path index, Map<String, String> weightMap, Map<String, SafetensorsFile> byShard) {
    Map<String, SafetensorsFile> fileOf = HashMap.newHashMap(weightMap.size());
    weightMap.forEach((name, shard) -> fileOf.put(name, byShard.get(shard)));
    for (SafetensorsFile file : byShard.values()) {
      for (TensorInfo info : file.tensors()) {
        SafetensorsFile listed = fileOf.get(info.name());
        if (listed != null && listed != file) {
          throw new SafetensorsException(
              index,
              quoteTensor(info.name()),
              "another one in " + SafetensorsException.quote(file.path().getFileName().toString()),
              "it in " + SafetensorsException.quote(weightMap.get(info.name())) + " only");
        }
      }
    }
    fileOf.forEach((name, file) -> {
      if (file.find(name).isEmpty()) {
        throw new SafetensorsException(
            index,
            quoteTensor(name),
            "no such tensor in " + SafetensorsException.quote(weightMap.get(name)),
            "the tensor, as the index says");
      }
    });
    return fileOf;
  }

  /** Also true of a link to nowhere, which then gets an error of its own. */
  private static boolean exists(Path file) {
    return Files.exists(file, LinkOption.NOFOLLOW_LINKS);
  }

  /** A file of the folder that, links followed, does not leave it. */
  private static Path inside(Path folder, String name) throws IOException {
    Path file;
    try {
      file = folder.resolve(name);
    } catch (InvalidPathException e) { // the locale's encoding may lack a character
      throw new SafetensorsException(
          folder, "file name", SafetensorsException.quote(name), "a name this system allows", e);
    }
    Path real;
    try {
      real = file.toRealPath();
    } catch (NoSuchFileException e) {
      throw SafetensorsException.io(file, "read", e);
    }
    Path root = folder.toRealPath();
    Path parent = root.getParent();
    boolean cached =
        parent != null
            && parent.endsWith("snapshots")
            && real.startsWith(parent.resolveSibling("blobs"));
    if (!real.startsWith(root) && !cached) {
      throw new SafetensorsException(
          file, "symbolic link", "a target outside the folder", "a file in the folder");
    }
    return file;
  }

  /**
   * The model's path.
   *
   * @return as it was given to {@code open}
   */
  public Path path() {
    return path;
  }

  /**
   * The files that hold the tensors.
   *
   * @return unmodifiable; one, or the shards as the index first names them
   */
  public List<SafetensorsFile> files() {
    return files;
  }

  /**
   * All tensors.
   *
   * @return unmodifiable, file by file, in the order of their data; offsets count within their file
   * @throws IllegalStateException after close
   */
  public List<TensorInfo> tensors() {
    checkOpen();
    return Collections.unmodifiableList(tensors);
  }

  /**
   * Names of tensors that shards hold and the index does not name; usually none.
   *
   * @return unmodifiable
   */
  public List<String> unlisted() {
    return Collections.unmodifiableList(unlisted);
  }

  /**
   * Looks for a tensor.
   *
   * @param name its name
   * @return what its header says about it, or empty
   * @throws IllegalStateException after close
   */
  public Optional<TensorInfo> find(String name) {
    checkOpen();
    return Optional.ofNullable(fileOf.get(name)).flatMap(file -> file.find(name));
  }

  /**
   * A tensor that must be there.
   *
   * @param name its name
   * @return what its header says about it
   * @throws SafetensorsException if there is no such tensor
   * @throws IllegalStateException after close
   */
  public TensorInfo tensor(String name) {
    return file(name).tensor(name);
  }

  /**
   * A tensor's data, see {@link SafetensorsFile#segment}.
   *
   * @param name its name
   * @return a read-only view of exactly the tensor's bytes, valid until close
   * @throws SafetensorsException if there is no such tensor
   * @throws IllegalStateException after close
   */
  public MemorySegment segment(String name) {
    return file(name).segment(name);
  }

  /**
   * The file that holds a tensor.
   *
   * @param name the tensor's name
   * @return one of {@link #files}
   * @throws SafetensorsException if there is no such tensor
   * @throws IllegalStateException after close
   */
  public SafetensorsFile file(String name) {
    checkOpen();
    SafetensorsFile file = fileOf.get(name);
    if (file == null) {
      throw new SafetensorsException(
          path,
          quoteTensor(name),
          "no such tensor",
          "one of the model's " + tensors.size() + " tensors");
    }
    return file;
  }

  /**
   * Closes all files. Closing again does nothing.
   *
   * @throws IllegalStateException if a native call is using a segment at this moment; close again
   *     later
   */
  @Override
  public synchronized void close() {
    if (!closed) {
      files.forEach(SafetensorsFile::close);
      closed = true;
    }
  }

  private static void closeAll(List<SafetensorsFile> files) {
    files.forEach(SafetensorsFile::close);
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException(SafetensorsException.show(path.toString()) + " is closed");
    }
  }
}
