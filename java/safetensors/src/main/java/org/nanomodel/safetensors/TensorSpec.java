package org.nanomodel.safetensors;

import java.util.Arrays;

/**
 * A tensor that a writer is going to write: everything but its data.
 *
 * @param name unique in the model; see {@link org.nanomodel.safetensors the package} for the limits
 * @param dtype element type
 * @param shape dimensions, outermost first; none for a scalar
 */
public record TensorSpec(String name, DType dtype, long... shape) {

  /**
   * Checks and copies.
   *
   * @param name unique in the model
   * @param dtype element type
   * @param shape dimensions, outermost first
   * @throws SafetensorsException if the name or a dimension is not allowed, or the size overflows
   *     or is not whole bytes
   */
  public TensorSpec {
    shape = shape.clone();
    Rules.checkName(null, name);
    Rules.byteSize(null, name, dtype, shape);
  }

  /** Dimensions, outermost first: a copy. */
  @Override
  public long[] shape() {
    return shape.clone();
  }

  /**
   * Size of the tensor's data.
   *
   * @return bytes
   */
  public long byteSize() {
    return Rules.byteSize(null, name, dtype, shape);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorSpec that
        && name.equals(that.name)
        && dtype == that.dtype
        && Arrays.equals(shape, that.shape);
  }

  @Override
  public int hashCode() {
    return 31 * (31 * name.hashCode() + dtype.hashCode()) + Arrays.hashCode(shape);
  }

  @Override
  public String toString() {
    return SafetensorsException.show(name) + " " + dtype + Arrays.toString(shape);
  }
}
