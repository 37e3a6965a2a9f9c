package org.nanomodel.safetensors;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;

/** Moves segments of any size between memory and files, a slice at a time. */
final class Bytes {
  /** Small enough for every channel, large enough that calls do not matter. */
  private static final long SLICE = 8L << 20;

  private Bytes() {}

  /** Fills the segment from a position; false if the file ends first. */
  static boolean readFully(FileChannel from, long position, MemorySegment into) throws IOException {
    for (long at = 0; at < into.byteSize(); ) {
      long size = Math.min(SLICE, into.byteSize() - at);
      int n = from.read(into.asSlice(at, size).asByteBuffer(), position + at);
      if (n < 0) {
        return false;
      }
      at += n;
    }
    return true;
  }

  /** Writes all bytes of a segment; heap segments of any element type will do. */
  static void writeFully(MemorySegment from, WritableByteChannel to) throws IOException {
    if (from.isNative()) {
      for (long at = 0; at < from.byteSize(); at += SLICE) {
        long size = Math.min(SLICE, from.byteSize() - at);
        drain(from.asSlice(at, size).asByteBuffer(), to);
      }
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment bounce = arena.allocate(Math.min(SLICE, from.byteSize()));
      for (long at = 0; at < from.byteSize(); at += SLICE) {
        long size = Math.min(SLICE, from.byteSize() - at);
        MemorySegment.copy(from, at, bounce, 0, size);
        drain(bounce.asSlice(0, size).asByteBuffer(), to);
      }
    }
  }

  private static void drain(ByteBuffer from, WritableByteChannel to) throws IOException {
    while (from.hasRemaining()) {
      to.write(from);
    }
  }
}
