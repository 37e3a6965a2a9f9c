package org.nanomodel.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.nanomodel.NativeException;

/**
 * A typed, strided view of memory: dtype + shape + row stride over a segment. The view is immutable
 * and checked against its segment when it is made, so that an op may hand its address to native
 * code; the elements may be written. All dimensions but the first lie densely; the first has a
 * stride, in elements.
 */
public final class Tensor {
  /** What wide loads like best; kernels do not depend on it. */
  public static final long ALIGNMENT = 64;

  private static final long TILE = 64;
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

  private final DataType type;
  private final long[] shape;
  private final long rowStride;
  private final MemorySegment data;

  private Tensor(DataType type, long[] shape, long rowStride, MemorySegment data) {
    this.type = type;
    this.shape = shape;
    this.rowStride = rowStride;
    this.data = data;
  }

  /** A dense tensor over the first bytes of {@code data}. */
  public static Tensor of(DataType type, MemorySegment data, long... shape) {
    long bytes = byteSize(type, shape);
    if (data.byteSize() < bytes) {
      throw new IllegalArgumentException(
          "tensor "
              + type
              + Arrays.toString(shape)
              + " needs "
              + bytes
              + " bytes, got "
              + data.byteSize());
    }
    return new Tensor(type, shape.clone(), denseStride(shape), data.asSlice(0, bytes));
  }

  /** A dense, zeroed tensor of its own memory, 64-byte aligned. */
  public static Tensor allocate(Arena arena, DataType type, long... shape) {
    long bytes = byteSize(type, shape);
    try {
      return of(type, arena.allocate(Math.max(1, bytes), ALIGNMENT), shape);
    } catch (OutOfMemoryError e) {
      throw new NativeException(
          NativeException.MEMORY,
          "no memory for a tensor " + type + Arrays.toString(shape) + " of " + bytes + " bytes");
    }
  }

  public static Tensor ofFloats(Arena arena, float[] values, long... shape) {
    Tensor t = allocate(arena, DataType.F32, shape);
    if (t.count() != values.length) {
      throw new IllegalArgumentException(
          "shape " + Arrays.toString(shape) + " does not hold " + values.length + " values");
    }
    MemorySegment.copy(values, 0, t.data, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, values.length);
    return t;
  }

  public static Tensor ofInts(Arena arena, int[] values) {
    Tensor t = allocate(arena, DataType.I32, values.length);
    MemorySegment.copy(values, 0, t.data, ValueLayout.JAVA_INT_UNALIGNED, 0, values.length);
    return t;
  }

  /** Bytes of a dense tensor; a negative dimension or an overflow is refused. */
  public static long byteSize(DataType type, long... shape) {
    try {
      long n = type.bytes();
      for (long d : shape) {
        if (d < 0) {
          throw new IllegalArgumentException("negative dimension in " + Arrays.toString(shape));
        }
        n = Math.multiplyExact(n, d);
      }
      return n;
    } catch (ArithmeticException e) {
      throw new IllegalArgumentException(
          "shape " + Arrays.toString(shape) + " overflows 63 bits of bytes");
    }
  }

  public DataType type() {
    return type;
  }

  public int rank() {
    return shape.length;
  }

  public long size(int dimension) {
    return shape[dimension];
  }

  public long[] shape() {
    return shape.clone();
  }

  /** Whether the shape is exactly this; allocates nothing for one and two dimensions. */
  public boolean hasShape(long rows, long cols) {
    return shape.length == 2 && shape[0] == rows && shape[1] == cols;
  }

  /** The first dimension; 1 for a scalar. */
  public long rows() {
    return shape.length == 0 ? 1 : shape[0];
  }

  /** Elements of one row: the product of all dimensions but the first. */
  public long cols() {
    long n = 1;
    for (int i = 1; i < shape.length; i++) {
      n *= shape[i];
    }
    return n;
  }

  /** Elements between the starts of two rows. */
  public long rowStride() {
    return rowStride;
  }

  public long count() {
    return rows() * cols();
  }

  public boolean isDense() {
    return rows() <= 1 || rowStride == cols();
  }

  /** The memory of this view, gaps between rows included. */
  public MemorySegment segment() {
    return data;
  }

  /** Rows {@code from .. from + n - 1}. */
  public Tensor rows(long from, long n) {
    checkRange("rows", from, n, rows());
    long[] s = shape.length == 0 ? new long[] {1} : shape.clone();
    s[0] = n;
    return view(s, from * rowStride, n, cols());
  }

  /** Columns {@code from .. from + n - 1} of each row, as a matrix. */
  public Tensor columns(long from, long n) {
    checkRange("columns", from, n, cols());
    return view(new long[] {rows(), n}, from, rows(), n);
  }

  /** The same elements under another shape; dense tensors only. */
  public Tensor reshape(long... to) {
    if (!isDense()) {
      throw new IllegalArgumentException("cannot reshape a strided view: " + this);
    }
    if (byteSize(type, to) != byteSize(type, shape)) {
      throw new IllegalArgumentException("cannot reshape " + this + " to " + Arrays.toString(to));
    }
    return new Tensor(type, to.clone(), denseStride(to), data);
  }

  /** A dense copy of this matrix with rows and columns exchanged. */
  public Tensor transposed(Arena arena) {
    Tensor out = allocate(arena, type, cols(), rows());
    int bytes = type.bytes();
    for (long from = 0; from < rows(); from += TILE) { // tiles that stay in the cache
      for (long c = 0; c < cols(); c++) {
        for (long r = from; r < Math.min(from + TILE, rows()); r++) {
          long at = bytes * (r * rowStride + c);
          long to = bytes * (c * out.rowStride + r);
          if (bytes == 4) {
            out.data.set(INT, to, data.get(INT, at));
          } else if (bytes == 2) {
            out.data.set(SHORT, to, data.get(SHORT, at));
          } else {
            MemorySegment.copy(data, at, out.data, to, bytes);
          }
        }
      }
    }
    return out;
  }

  private Tensor view(long[] s, long offset, long n, long cols) {
    long elements = n == 0 || cols == 0 ? 0 : (n - 1) * rowStride + cols;
    long from = elements == 0 ? 0 : offset * type.bytes();
    return new Tensor(type, s, rowStride, data.asSlice(from, elements * type.bytes()));
  }

  private void checkRange(String what, long from, long n, long limit) {
    if (from < 0 || n < 0 || from > limit - n) {
      throw new IndexOutOfBoundsException(what + " " + from + " + " + n + " of " + this);
    }
  }

  public float getFloat(long row, long col) {
    return data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, offset(DataType.F32, row, col));
  }

  public void setFloat(long row, long col, float value) {
    data.set(ValueLayout.JAVA_FLOAT_UNALIGNED, offset(DataType.F32, row, col), value);
  }

  private long offset(DataType expected, long row, long col) {
    if (type != expected) {
      throw new IllegalArgumentException("expected an " + expected + " tensor, got " + this);
    }
    checkRange("row", row, 1, rows());
    checkRange("column", col, 1, cols());
    return (row * rowStride + col) * type.bytes();
  }

  /** All elements of an F32 tensor, row by row. */
  public float[] toFloats() {
    var out = new float[Math.toIntExact(count())];
    for (long r = 0; r < rows() && cols() > 0; r++) {
      int cols = (int) cols();
      MemorySegment.copy(
          data,
          ValueLayout.JAVA_FLOAT_UNALIGNED,
          offset(DataType.F32, r, 0),
          out,
          (int) r * cols,
          cols);
    }
    return out;
  }

  /** All elements of an I32 or I64 tensor; one beyond 32 bits is refused. */
  public int[] toInts() {
    if (type != DataType.I32 && type != DataType.I64 || !isDense()) {
      throw new IllegalArgumentException("expected a dense I32 or I64 tensor, got " + this);
    }
    var out = new int[Math.toIntExact(count())];
    for (int i = 0; i < out.length; i++) {
      out[i] =
          type == DataType.I32
              ? data.get(ValueLayout.JAVA_INT_UNALIGNED, 4L * i)
              : Math.toIntExact(data.get(ValueLayout.JAVA_LONG_UNALIGNED, 8L * i));
    }
    return out;
  }

  private static long denseStride(long[] shape) {
    long n = 1;
    for (int i = 1; i < shape.length; i++) {
      n *= shape[i];
    }
    return n;
  }

  @Override
  public String toString() {
    return type + Arrays.toString(shape) + (isDense() ? "" : "/" + rowStride);
  }
}
