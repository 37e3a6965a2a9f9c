package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsModel;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The tensors of a checkpoint as they lie in its files, borrowed or read; what does not fit is
 * refused by file and name.
 */
final class StoredTensors implements AutoCloseable {
  private final SafetensorsModel files;
  private final Arena room; // null = borrowed
  private final Map<String, Tensor> read = new HashMap<>();

  private StoredTensors(SafetensorsModel files, Arena room) {
    this.files = files;
    this.room = room;
  }

  /**
   * The same, whose tensors are read from the files into {@code room}, each once: a file that is
   * cut short meanwhile is an exception, where touching its map would raise SIGBUS, which ends the
   * process when a kernel does it. For one thread.
   */
  StoredTensors in(Arena room) {
    return new StoredTensors(files, room);
  }

  static StoredTensors open(Path directory) {
    try {
      return new StoredTensors(SafetensorsModel.open(directory), null);
    } catch (SafetensorsException e) {
      throw new BadModelException(e.getMessage(), e);
    }
  }

  boolean has(String name) {
    return files.find(name).isPresent();
  }

  Optional<TensorInfo> find(String name) {
    return files.find(name);
  }

  /** All tensors, file by file, in the order of their data. */
  List<TensorInfo> all() {
    return files.tensors();
  }

  /** The files, whole model or shards. */
  List<Path> paths() {
    return files.files().stream().map(file -> file.path()).toList();
  }

  TensorInfo info(String name) {
    return files
        .find(name)
        .orElseThrow(() ->
            new BadModelException(files.path() + ": tensor " + Escaped.of(name) + " is missing"));
  }

  /** The bytes of a tensor of any type, valid until close. */
  MemorySegment bytes(String name) {
    info(name);
    return files.segment(name);
  }

  DataType type(String name) {
    TensorInfo info = info(name);
    return DataType.ofName(info.dtype().name())
        .orElseThrow(() ->
            new UnsupportedModelException(
                where(name) + " has dtype " + info.dtype() + ", which this version does not read"));
  }

  /** A tensor that must have one of these types. */
  Tensor tensor(String name, List<DataType> types) {
    DataType type = type(name);
    if (!types.contains(type)) {
      throw new BadModelException(where(name) + " has dtype " + type + ", expected " + types);
    }
    if (room != null) {
      return read.computeIfAbsent(name, n -> read(n, type));
    }
    checkNotCut(name);
    return Tensor.of(type, files.segment(name), info(name).shape());
  }

  private Tensor read(String name, DataType type) {
    Tensor t = Tensor.allocate(room, type, info(name).shape());
    try {
      files.file(name).read(name, t.segment());
    } catch (SafetensorsException e) {
      throw new BadModelException(e.getMessage(), e);
    }
    return t;
  }

  /** A tensor that must have this type and shape; dimensions below 0 are free. */
  Tensor tensor(String name, List<DataType> types, long... shape) {
    long[] got = info(name).shape();
    boolean fits = got.length == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] < 0 || got[i] == shape[i];
    }
    if (!fits) {
      throw new BadModelException(
          where(name) + " has shape " + Arrays.toString(got) + ", expected " + shapeText(shape));
    }
    return tensor(name, types);
  }

  private void checkNotCut(String name) {
    try {
      files.file(name).checkNotCut();
    } catch (SafetensorsException e) {
      throw new BadModelException(e.getMessage(), e);
    }
  }

  Optional<Tensor> find(String name, List<DataType> types, long... shape) {
    return has(name) ? Optional.of(tensor(name, types, shape)) : Optional.empty();
  }

  private static String shapeText(long[] shape) {
    return Arrays.stream(shape).mapToObj(d -> d < 0 ? "*" : Long.toString(d)).toList().toString();
  }

  /** File and tensor, for messages. */
  String where(String name) {
    return files.file(name).path() + ": tensor " + Escaped.of(name);
  }

  /**
   * The same tensor at an address that its elements like; old files hold some that are not aligned.
   */
  static Tensor aligned(Arena arena, Tensor t) {
    if (t.segment().address() % t.type().bytes() == 0) {
      return t;
    }
    Tensor copy = Tensor.allocate(arena, t.type(), t.shape());
    MemorySegment.copy(t.segment(), 0, copy.segment(), 0, t.segment().byteSize());
    return copy;
  }

  @Override
  public void close() {
    files.close();
  }
}
