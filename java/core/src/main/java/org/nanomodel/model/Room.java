package org.nanomodel.model;

import java.lang.foreign.Arena;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Work memory of one width that grows to the most rows asked for. */
final class Room {
  private final long cols;
  private Tensor all;
  private Tensor last;

  Room(long cols) {
    this.cols = cols;
  }

  /** F32 [rows, cols], valid until the next call. */
  Tensor rows(long rows) {
    if (all == null || all.rows() < rows) {
      all = Tensor.allocate(Arena.ofAuto(), DataType.F32, rows, cols);
      last = all;
    }
    if (last.rows() != rows) {
      last = all.rows(0, rows);
    }
    return last;
  }
}
