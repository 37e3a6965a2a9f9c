package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import org.nanomodel.ops.GptqTriangle;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * X^T X of a module's inputs, all rows of calibration together; modules that share an input share
 * it. Products are float32, sums over more than 256 rows float64, so that how rows are batched
 * moves nothing but the last bits of float32; what it holds does not depend on the number of
 * threads. Only the upper triangle is kept: 4 K^2 bytes, what a square of float32 would take.
 *
 * <p>{@link #paired} also keeps (X_exact - X)^T X for GPTAQ (Li et al. 2025): 8 K^2 bytes more.
 */
public final class Gram implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final long k;
  private final Tensor gram;
  private final Tensor cross;
  private long rows;

  private Gram(long k, boolean paired) {
    this.k = k;
    this.gram = Tensor.allocate(arena, DataType.F64, GptqTriangle.triangle(k));
    this.cross = paired ? Tensor.allocate(arena, DataType.F64, GptqTriangle.square(k)) : null;
  }

  /** Of inputs with K columns; no rows yet. */
  public Gram(long k) {
    this(k, false);
  }

  /**
   * One that takes each row twice: as it is now and as it is in the model that is not quantized.
   */
  public static Gram paired(long k) {
    return new Gram(k, true);
  }

  /** Bytes of one with K columns. */
  public static long byteSize(long k, boolean paired) {
    return 8 * (GptqTriangle.triangle(k) + (paired ? GptqTriangle.square(k) : 0));
  }

  /** Adds the rows of x (F32 [T, K]). */
  public void add(Ops ops, Tensor x) {
    if (cross != null) {
      throw new IllegalStateException("a paired Gram takes each row twice");
    }
    check(x);
    ops.gram(gram, x, null, null);
    rows += x.rows();
  }

  /** Adds the rows of x, and the same of the model that is not quantized. */
  public void add(Ops ops, Tensor x, Tensor exact) {
    if (cross == null) {
      throw new IllegalStateException("only a paired Gram takes each row twice");
    }
    check(x);
    ops.gram(gram, x, cross, exact);
    rows += x.rows();
  }

  private void check(Tensor x) {
    if (x.cols() != k) {
      throw new IllegalArgumentException("x is " + x + ", expected " + k + " columns");
    }
  }

  public long k() {
    return k;
  }

  public long rows() {
    return rows;
  }

  boolean isPaired() {
    return cross != null;
  }

  /** F64, a triangle in strips. */
  Tensor triangle() {
    return gram;
  }

  /** F64, a full matrix in strips, or null. */
  Tensor cross() {
    return cross;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
