package org.nanomodel.evaluate;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** -log p of the tokens of a step, and where they belong. */
final class Scores {
  private final Tensor nll;

  /**
   * @param rows the most of a step
   */
  Scores(int rows) {
    nll = Tensor.allocate(Arena.ofAuto(), DataType.F64, rows);
  }

  /** F64 [rows], valid until the next call. */
  Tensor of(Ops ops, Tensor logits, Tensor targets) {
    Tensor rows = nll.rows(0, logits.rows());
    ops.nll(rows, logits, targets);
    return rows;
  }

  /** Copies figures of a step to their windows. */
  static void spread(Tensor figures, List<WindowRunner.Piece> pieces, List<double[]> windows) {
    int row = 0;
    for (WindowRunner.Piece piece : pieces) {
      for (int i = 0; i < piece.rows(); i++) {
        double figure = figures.segment().getAtIndex(ValueLayout.JAVA_DOUBLE, row++);
        windows.get(piece.window())[piece.first() + i] = figure;
      }
    }
  }
}
