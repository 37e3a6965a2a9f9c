package org.nanomodel.quantize;

import java.lang.foreign.MemorySegment;
import org.nanomodel.tensor.Tensor;

/** Copies between F32 matrices of one shape that may have row strides. */
final class Copies {
  private Copies() {}

  static void rows(Tensor to, Tensor from) {
    if (!to.hasShape(from.rows(), from.cols())) {
      throw new IllegalArgumentException("cannot copy " + from + " to " + to);
    }
    long bytes = 4 * from.cols();
    for (long r = 0; r < from.rows(); r++) {
      MemorySegment.copy(
          from.segment(), 4 * r * from.rowStride(), to.segment(), 4 * r * to.rowStride(), bytes);
    }
  }
}
