package org.nanomodel.safetensors;

import java.util.Arrays;

/**
 * One tensor of a file, as its header describes it.
 *
 * @param name the tensor's name, unique in the file
 * @param dtype element type
 * @param shape dimensions, outermost first; empty for a scalar, which has one element
 * @param begin first byte, counted from the start of the data section (not of the file)
 * @param end one past the last byte, counted likewise
 */
public record TensorInfo(String name, DType dtype, long[] shape, long begin, long end) {

  /**
   * Copies the shape; checks nothing.
   *
   * @param name the tensor's name
   * @param dtype element type
   * @param shape dimensions
   * @param begin first byte
   * @param end one past the last byte
   */
  public TensorInfo {
    shape = shape.clone();
  }

  /** Dimensions, outermost first: a copy. */
  @Override
  public long[] shape() {
    return shape.clone();
  }

  /**
   * Number of dimensions.
   *
   * @return 0 for a scalar
   */
  public int rank() {
    return shape.length;
  }

  /**
   * One dimension.
   *
   * @param axis 0 is the outermost
   * @return elements along the axis
   * @throws IndexOutOfBoundsException if the tensor has no such axis
   */
  public long dim(int axis) {
    return shape[axis];
  }

  /**
   * Number of elements.
   *
   * @return product of the shape; 1 for a scalar, 0 if any dimension is 0
   */
  public long elements() {
    long product = 1;
    for (long dim : shape) {
      product *= dim;
    }
    return product;
  }

  /**
   * Size of the tensor's data.
   *
   * @return bytes
   */
  public long byteSize() {
    return end - begin;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorInfo that
        && name.equals(that.name)
        && dtype == that.dtype
        && Arrays.equals(shape, that.shape)
        && begin == that.begin
        && end == that.end;
  }

  @Override
  public int hashCode() {
    return 31 * (31 * name.hashCode() + Arrays.hashCode(shape)) + Long.hashCode(begin);
  }

  @Override
  public String toString() {
    return SafetensorsException.show(name) + " " + dtype + Arrays.toString(shape);
  }
}
