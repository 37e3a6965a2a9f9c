package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Writes one safetensors file, larger than memory if need be. The plan (names, types, shapes) comes
 * first and fixes every offset; then each tensor is put once, in any order, by any thread; {@link
 * #finish} makes the file appear under its name.
 *
 * <pre>{@code
 * try (var writer = SafetensorsWriter.create(path, List.of(new TensorSpec("w", DType.F32, 2, 3)))) {
 *   writer.put("w", segment);
 *   writer.finish();
 * }
 * }</pre>
 *
 * <p>Until then the data lies in {@code <name>.tmp-<pid>-<random>} beside the target, which {@link
 * #close} removes. A file that was there before stays whole, and stays mapped where it is mapped,
 * so the source of a conversion may be its target.
 */
public final class SafetensorsWriter implements AutoCloseable {

  /** Produces one tensor's bytes when it is its turn. */
  @FunctionalInterface
  public interface TensorData {
    /**
     * Writes exactly the tensor's bytes, in as many pieces as convenient.
     *
     * @param out takes no more than the tensor's size
     * @throws IOException if the data cannot be had
     */
    void writeTo(WritableByteChannel out) throws IOException;
  }

  /** What {@code create} without metadata writes: what Python's readers look for. */
  static final Map<String, String> DEFAULT_METADATA = Map.of("format", "pt");

  private final Path target;
  private final Layout layout;
  private final Map<String, TensorInfo> byName;
  private final AtomicFile file;
  private final Set<String> begun = new HashSet<>();
  private int done;
  private boolean sealed;
  private boolean ended;

  private SafetensorsWriter(Path target, Layout layout, AtomicFile file) {
    this.target = target;
    this.layout = layout;
    this.file = file;
    byName = HashMap.newHashMap(layout.tensors().size());
    layout.tensors().forEach(info -> byName.put(info.name(), info));
  }

  /**
   * Starts a file with the metadata {@code {"format": "pt"}}.
   *
   * @param target the file to make or replace; its folder must exist
   * @param plan all tensors, in any order
   * @return an open writer
   * @throws SafetensorsException if the plan is not allowed or the file cannot be made
   */
  public static SafetensorsWriter create(Path target, Collection<TensorSpec> plan) {
    return create(target, plan, DEFAULT_METADATA);
  }

  /**
   * Starts a file.
   *
   * @param target the file to make or replace; its folder must exist
   * @param plan all tensors, in any order
   * @param metadata the header's {@code __metadata__}, left out if empty
   * @return an open writer
   * @throws SafetensorsException if the plan is not allowed or the file cannot be made
   */
  public static SafetensorsWriter create(
      Path target, Collection<TensorSpec> plan, Map<String, String> metadata) {
    return create(target, Layout.of(target, plan, metadata));
  }

  static SafetensorsWriter create(Path target, Layout layout) {
    try {
      if (Files.isDirectory(target)) {
        throw new SafetensorsException(target, "target", "a folder", "a file");
      }
      checkSpace(target, layout.fileBytes());
      AtomicFile file = AtomicFile.create(target);
      try {
        FileChannel channel = file.channel();
        channel.position(0);
        Bytes.writeFully(MemorySegment.ofArray(layout.header()), channel);
        return new SafetensorsWriter(target, layout, file);
      } catch (Throwable e) {
        file.close();
        throw e;
      }
    } catch (IOException e) {
      throw SafetensorsException.io(target, "write", e);
    }
  }

  /** Refuses at the start what could only fail at the end. */
  static void checkSpace(Path target, long bytes) throws IOException {
    long usable = Files.getFileStore(AtomicFile.folder(target)).getUsableSpace();
    if (usable > 0 && usable < bytes) { // some network file systems say 0
      throw new SafetensorsException(
          target, "free space", usable + " bytes", bytes + " bytes for the file");
    }
  }

  /**
   * Where each tensor is going to lie.
   *
   * @return unmodifiable, in the order of their data
   */
  public List<TensorInfo> layout() {
    return layout.tensors();
  }

  /**
   * Writes a tensor.
   *
   * @param name a planned tensor that was not put before
   * @param data exactly its bytes, little-endian; native or heap
   * @throws SafetensorsException if the name or size is not the plan's, or the write fails; the
   *     file can then no longer be finished
   * @throws IllegalStateException after finish or close
   */
  public void put(String name, MemorySegment data) {
    TensorInfo info = planned(name);
    if (data.byteSize() != info.byteSize()) {
      throw wrongSize(info, data.byteSize() + " bytes");
    }
    put(name, out -> Bytes.writeFully(data, out));
  }

  /**
   * Writes a tensor from a callback, which runs at once, on this thread.
   *
   * @param name a planned tensor that was not put before
   * @param data writes exactly the tensor's bytes, little-endian
   * @throws SafetensorsException if the name or size is not the plan's, or the write fails; the
   *     file can then no longer be finished
   * @throws IllegalStateException after finish or close
   */
  public void put(String name, TensorData data) {
    TensorInfo info = planned(name);
    synchronized (this) {
      checkNotEnded();
      if (!begun.add(name)) {
        throw new SafetensorsException(target, quoteTensor(name), "a second put", "one put");
      }
    }
    try {
      var out = new Window(info);
      data.writeTo(out);
      if (out.position < info.end()) {
        throw wrongSize(info, (out.position - info.begin()) + " bytes");
      }
    } catch (IOException e) {
      throw SafetensorsException.io(target, "write " + quoteTensor(name), e);
    }
    synchronized (this) {
      done++;
    }
  }

  /**
   * Forces the file to the disk and gives it its name, replacing an old one.
   *
   * @throws SafetensorsException if a tensor is missing or failed, or the disk does
   * @throws IllegalStateException if called twice or after close
   */
  public synchronized void finish() {
    seal();
    commit();
  }

  /** First half of finish: all bytes are on the disk under the temporary name. */
  synchronized void seal() {
    checkNotEnded();
    if (!isComplete()) {
      String missing =
          layout.tensors().stream()
              .map(TensorInfo::name)
              .filter(name -> !begun.contains(name))
              .findFirst()
              .map(name -> ", " + quoteTensor(name) + " is missing")
              .orElse(", the others failed or are still being put");
      throw new SafetensorsException(
          target, "tensors", done + " put" + missing, byName.size() + " as planned");
    }
    try {
      file.seal();
      sealed = true;
    } catch (IOException e) {
      throw SafetensorsException.io(target, "write", e);
    }
  }

  /** Second half of finish: the file appears. */
  synchronized void commit() {
    ended = true;
    try {
      file.commit();
    } catch (IOException e) {
      throw SafetensorsException.io(target, "rename to", e);
    }
  }

  synchronized boolean isComplete() {
    return done == byName.size();
  }

  synchronized boolean isSealed() {
    return sealed;
  }

  /**
   * Ends the writing. Without a finish before, the temporary file is removed and nothing has
   * changed. Closing again does nothing.
   */
  @Override
  public synchronized void close() {
    ended = true;
    try {
      file.close();
    } catch (IOException e) {
      throw SafetensorsException.io(target, "remove the temporary file", e);
    }
  }

  private void checkNotEnded() {
    if (ended) {
      throw new IllegalStateException("the writer is finished or closed");
    }
  }

  private TensorInfo planned(String name) {
    TensorInfo info = byName.get(name);
    if (info == null) {
      throw new SafetensorsException(target, quoteTensor(name), "a put", "a tensor of the plan");
    }
    return info;
  }

  private SafetensorsException wrongSize(TensorInfo info, String got) {
    return new SafetensorsException(
        target,
        quoteTensor(info.name()) + " data",
        got,
        info.byteSize() + " bytes for " + info.dtype() + " " + Arrays.toString(info.shape()));
  }

  /** The part of the file that belongs to one tensor. */
  private final class Window implements WritableByteChannel {
    private final TensorInfo info;
    private long position;

    Window(TensorInfo info) {
      this.info = info;
      position = info.begin();
    }

    @Override
    public int write(ByteBuffer from) throws IOException {
      if (from.remaining() > info.end() - position) {
        throw wrongSize(info, (position - info.begin() + from.remaining()) + " bytes or more");
      }
      int n = file.channel().write(from, layout.header().length + position);
      position += n;
      return n;
    }

    @Override
    public boolean isOpen() {
      return file.channel().isOpen();
    }

    @Override
    public void close() throws IOException {
      if (!isOpen()) {
        throw new ClosedChannelException();
      }
    }
  }
}
