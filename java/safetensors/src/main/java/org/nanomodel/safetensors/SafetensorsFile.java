package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * An open safetensors file of any size. Everything the header says was checked before {@code open}
 * returned. May be used by many threads; {@link #close} ends the life of every segment it gave out.
 *
 * <p><b>Files that change.</b> A mapped file must not be cut short or written to while it is open:
 * reading a page that is gone raises SIGBUS, which Java reports as an {@link InternalError} and
 * which kills the process when native code does the reading. Replacing the file by a rename is
 * safe, and is what this library's writers do. Where other programs may write in place, use {@link
 * #read}, which does not touch the mapping, or {@link Mode#COPY}; {@link #checkNotCut} finds a file
 * that has shrunk, as far as a check before the reading can.
 */
public final class SafetensorsFile implements AutoCloseable {

  /** How the data comes into memory. */
  public enum Mode {
    /** Mapped: nothing is read until it is used, and the page cache is shared. */
    MAP,
    /**
     * Copied into memory of this process. No later change to the file is seen or does harm. Counts
     * against {@code -XX:MaxDirectMemorySize}, which defaults to the maximum heap size.
     */
    COPY
  }

  private static final int COPY_ALIGNMENT = 64;

  private final Path path;
  private final Header header;
  private final long fileBytes;
  private final FileChannel channel;
  private final Arena arena;
  private final MemorySegment data;
  private volatile boolean closed;

  private SafetensorsFile(Path path, FileChannel channel, Mode mode) throws IOException {
    this.path = path;
    this.channel = channel;
    fileBytes = channel.size();
    header = Header.read(channel, path, fileBytes);
    arena = Arena.ofShared();
    try {
      MemorySegment all = mode == Mode.MAP ? map() : copy();
      data = all.asReadOnly();
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  /**
   * Opens and maps a file.
   *
   * @param path a regular file, or a link to one
   * @return the open file
   * @throws SafetensorsException if the file cannot be read or is not valid
   */
  public static SafetensorsFile open(Path path) {
    return open(path, Mode.MAP);
  }

  /**
   * Opens a file.
   *
   * @param path a regular file, or a link to one
   * @param mode mapped or copied
   * @return the open file
   * @throws SafetensorsException if the file cannot be read, is not valid, or does not fit memory
   */
  public static SafetensorsFile open(Path path, Mode mode) {
    try {
      var attributes = Files.readAttributes(path, BasicFileAttributes.class);
      if (!attributes.isRegularFile()) { // opening a pipe could wait for ever
        throw new SafetensorsException(
            path, "file", attributes.isDirectory() ? "a folder" : "a device or pipe", "a file");
      }
      FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
      try {
        return new SafetensorsFile(path, channel, mode);
      } catch (Throwable e) {
        channel.close();
        throw e;
      }
    } catch (IOException e) {
      throw SafetensorsException.io(path, "read", e);
    }
  }

  private MemorySegment map() throws IOException {
    long size = header.dataBytes();
    return size == 0
        ? arena.allocate(0)
        : channel.map(FileChannel.MapMode.READ_ONLY, header.dataStart(), size, arena);
  }

  private MemorySegment copy() throws IOException {
    MemorySegment all;
    try {
      all = arena.allocate(header.dataBytes(), COPY_ALIGNMENT);
    } catch (OutOfMemoryError e) {
      throw new SafetensorsException(
          path,
          "memory",
          "no room for " + header.dataBytes() + " bytes",
          "Mode.MAP, or more memory and a larger -XX:MaxDirectMemorySize",
          e);
    }
    if (!Bytes.readFully(channel, header.dataStart(), all)) {
      throw cut(channel.size());
    }
    return all;
  }

  /**
   * The file's path.
   *
   * @return as it was given to {@code open}
   */
  public Path path() {
    return path;
  }

  /**
   * All tensors.
   *
   * @return unmodifiable, in the order of their data
   * @throws IllegalStateException after close
   */
  public List<TensorInfo> tensors() {
    checkOpen();
    return header.tensors();
  }

  /**
   * Looks for a tensor.
   *
   * @param name its name
   * @return what the header says about it, or empty
   * @throws IllegalStateException after close
   */
  public Optional<TensorInfo> find(String name) {
    checkOpen();
    return Optional.ofNullable(header.byName().get(name));
  }

  /**
   * A tensor that must be there.
   *
   * @param name its name
   * @return what the header says about it
   * @throws SafetensorsException if there is no such tensor
   * @throws IllegalStateException after close
   */
  public TensorInfo tensor(String name) {
    return find(name)
        .orElseThrow(() ->
            new SafetensorsException(
                path,
                quoteTensor(name),
                "no such tensor",
                "one of the file's " + header.tensors().size() + " tensors"));
  }

  /**
   * A tensor's data: little-endian elements, the last dimension contiguous. Files written long ago
   * may hold elements that are not aligned: read with {@code ValueLayout.*_UNALIGNED}.
   *
   * @param name its name
   * @return a read-only view of exactly the tensor's bytes, valid until close
   * @throws SafetensorsException if there is no such tensor
   * @throws IllegalStateException after close
   */
  public MemorySegment segment(String name) {
    TensorInfo info = tensor(name);
    return data.asSlice(info.begin(), info.byteSize());
  }

  /**
   * Reads a tensor's data from the file, as {@link #segment} has it. A file that was cut short is
   * an exception here, whenever that happened; the mapping is not touched.
   *
   * @param name its name
   * @param into the first bytes of it are filled
   * @throws SafetensorsException if there is no such tensor, or it can no longer be read
   * @throws IndexOutOfBoundsException if {@code into} is too small
   * @throws IllegalStateException after close
   */
  public void read(String name, MemorySegment into) {
    TensorInfo info = tensor(name);
    MemorySegment target = into.asSlice(0, info.byteSize());
    try {
      if (!Bytes.readFully(channel, header.dataStart() + info.begin(), target)) {
        throw cut(channel.size());
      }
    } catch (IOException e) {
      throw SafetensorsException.io(path, "read", e);
    }
  }

  /**
   * The header's {@code __metadata__}.
   *
   * @return unmodifiable; empty if the file has none
   * @throws IllegalStateException after close
   */
  public Map<String, String> metadata() {
    checkOpen();
    return header.metadata();
  }

  /**
   * Checks that the file still has its length; to be called before long reads of a mapped file.
   *
   * @throws SafetensorsException if the file has become shorter
   * @throws IllegalStateException after close
   */
  public void checkNotCut() {
    checkOpen();
    try {
      long now = channel.size();
      if (now < fileBytes) {
        throw cut(now);
      }
    } catch (IOException e) {
      throw SafetensorsException.io(path, "read", e);
    }
  }

  /**
   * Ends the life of all segments. Closing again does nothing.
   *
   * @throws IllegalStateException if a native call is using a segment at this moment; close again
   *     later
   */
  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    arena.close();
    closed = true;
    try {
      channel.close();
    } catch (IOException e) {
      throw SafetensorsException.io(path, "close", e);
    }
  }

  private SafetensorsException cut(long now) {
    return new SafetensorsException(
        path, "file length", now + " bytes", fileBytes + " bytes, as when it was opened");
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException(SafetensorsException.show(path.toString()) + " is closed");
    }
  }
}
