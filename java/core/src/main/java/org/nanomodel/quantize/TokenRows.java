package org.nanomodel.quantize;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * One vector for each token of the calibration, F32 [T, width]: in memory, or in a mapped file that
 * has no name any more and vanishes with the process. The system writes such pages out when memory
 * is short.
 */
final class TokenRows implements AutoCloseable {
  private static final int ZEROS = 1 << 20;

  private final Arena arena;
  private final Tensor all;

  private TokenRows(Arena arena, Tensor all) {
    this.arena = arena;
    this.all = all;
  }

  /** Zeroed rows; in a file in {@code folder}, if there is one. */
  static TokenRows allocate(long tokens, long width, Optional<Path> folder) {
    Arena arena = Arena.ofShared();
    try {
      if (folder.isEmpty()) {
        return new TokenRows(arena, Tensor.allocate(arena, DataType.F32, tokens, width));
      }
      long bytes = Tensor.byteSize(DataType.F32, tokens, width);
      MemorySegment file = map(arena, folder.get(), bytes);
      return new TokenRows(arena, Tensor.of(DataType.F32, file, tokens, width));
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  /** Every page is written first: a full disk is an error here, and a dead process later. */
  private static MemorySegment map(Arena arena, Path folder, long bytes) {
    try {
      Files.createDirectories(folder);
      Path file = Files.createTempFile(folder, "states-", ".tmp");
      try (var channel =
          FileChannel.open(
              file,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE,
              StandardOpenOption.DELETE_ON_CLOSE)) {
        var zeros = ByteBuffer.allocateDirect(ZEROS);
        for (long at = 0; at < bytes; at += zeros.limit()) {
          zeros.clear().limit((int) Math.min(ZEROS, bytes - at));
          while (zeros.hasRemaining()) {
            channel.write(zeros);
          }
        }
        return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena);
      }
    } catch (IOException e) {
      throw DurableFiles.failed("write hidden states into", folder, e);
    }
  }

  /** The rows of a chunk. */
  Tensor of(TextChunks.Chunk chunk) {
    return all.rows(chunk.first(), chunk.tokens());
  }

  /** The same place for rows of another width, at most that of all. */
  Tensor of(TextChunks.Chunk chunk, long width) {
    var place = all.segment().asSlice(Tensor.byteSize(DataType.F32, chunk.first(), all.cols()));
    return Tensor.of(DataType.F32, place, chunk.tokens(), width);
  }

  @Override
  public void close() {
    arena.close();
  }
}
