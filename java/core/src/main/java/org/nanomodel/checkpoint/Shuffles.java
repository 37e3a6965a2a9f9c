package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** The orders in which layouts keep their small tensors: scales, zeros, words of zeros. */
final class Shuffles {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final int[] PAIRS = {0, 1, 8, 9, 16, 17, 24, 25};

  private Shuffles() {}

  /** [R, C] to [C, R], of elements of 1, 2 or 4 bytes. */
  static Tensor transposed(Arena arena, Tensor t) {
    long rows = t.rows();
    long cols = t.cols();
    Tensor out = Tensor.allocate(arena, t.type(), cols, rows);
    MemorySegment from = t.segment();
    MemorySegment to = out.segment();
    for (long r = 0; r < rows; r++) {
      for (long c = 0; c < cols; c++) {
        long at = r * cols + c;
        long there = c * rows + r;
        switch (t.type().bytes()) {
          case 1 -> to.set(ValueLayout.JAVA_BYTE, there, from.get(ValueLayout.JAVA_BYTE, at));
          case 2 ->
              to.set(
                  ValueLayout.JAVA_SHORT_UNALIGNED,
                  2 * there,
                  from.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at));
          case 4 ->
              to.set(
                  ValueLayout.JAVA_INT_UNALIGNED,
                  4 * there,
                  from.get(ValueLayout.JAVA_INT_UNALIGNED, 4 * at));
          default -> throw new IllegalArgumentException("elements of " + t.type());
        }
      }
    }
    return out;
  }

  /**
   * Rows [G, N] of F32 to the order of tensor core tiles: scales of groups, in each block of 64
   * {@code out[8i+j] = in[i+8j]}; those of whole rows, in each block of 32 {@code out[8i+t] =
   * in[2i+T[t]]}, T = 0 1 8 9 16 17 24 25.
   */
  static Tensor toTiles(Arena arena, Tensor f32, boolean grouped) {
    return permuted(arena, f32, grouped, false);
  }

  /** The reverse of {@link #toTiles}. */
  static Tensor fromTiles(Arena arena, Tensor f32, boolean grouped) {
    return permuted(arena, f32, grouped, true);
  }

  private static Tensor permuted(Arena arena, Tensor in, boolean grouped, boolean undo) {
    Tensor out = Tensor.allocate(arena, DataType.F32, in.rows(), in.cols());
    int block = grouped ? 64 : 32;
    for (long at = 0; at < in.count(); at += block) {
      for (int i = 0; i < block; i++) {
        int source = block == 32 ? 2 * (i / 8) + PAIRS[i % 8] : i / 8 + 8 * (i % 8);
        long from = at + (undo ? i : source);
        long to = at + (undo ? source : i);
        out.segment().set(FLOAT, 4 * to, in.segment().get(FLOAT, 4 * from));
      }
    }
    return out;
  }

  /** The first rows of a matrix, or the matrix with rows of zeros below. */
  static Tensor withRows(Arena arena, Tensor t, long rows) {
    Tensor out = Tensor.allocate(arena, t.type(), rows, t.cols());
    long bytes = Math.min(rows, t.rows()) * t.cols() * t.type().bytes();
    MemorySegment.copy(t.segment(), 0, out.segment(), 0, bytes);
    return out;
  }

  /** Bytes with 2^(bits-1) added: signed codes to unsigned ones, and 8-bit ones back. */
  static Tensor shifted(Arena arena, Tensor bytes, int bits) {
    DataType type = bytes.type() == DataType.I8 ? DataType.U8 : DataType.I8;
    Tensor out = Tensor.allocate(arena, type, bytes.shape());
    long at = 0;
    if (bits == 8) { // eight at a time, since these are whole weights
      for (; at + 8 <= bytes.count(); at += 8) {
        long eight = bytes.segment().get(ValueLayout.JAVA_LONG_UNALIGNED, at);
        out.segment().set(ValueLayout.JAVA_LONG_UNALIGNED, at, eight ^ 0x8080808080808080L);
      }
    }
    for (; at < bytes.count(); at++) {
      int code = bytes.segment().get(ValueLayout.JAVA_BYTE, at) + (1 << bits - 1);
      out.segment().set(ValueLayout.JAVA_BYTE, at, (byte) code);
    }
    return out;
  }
}
