package org.nanomodel.ops;

import java.lang.foreign.Arena;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Cosines and sines of a step's positions: filled once a step by {@link Ops#ropeTable}, read by
 * each layer.
 */
public final class RopeTable {
  private final Tensor invFreq;
  private final float scale;
  private final boolean interleaved;
  private final Tensor cos;
  private final Tensor sin;

  /**
   * @param invFreq [half], the angle of one position
   * @param scale what cosine and sine are multiplied by (YaRN's attention factor)
   * @param interleaved pairs are (2i, 2i + 1) instead of (i, i + half)
   */
  public RopeTable(Arena arena, float[] invFreq, float scale, boolean interleaved, int maxTokens) {
    this.invFreq = Tensor.ofFloats(arena, invFreq, invFreq.length);
    this.scale = scale;
    this.interleaved = interleaved;
    this.cos = Tensor.allocate(arena, DataType.F32, maxTokens, invFreq.length);
    this.sin = Tensor.allocate(arena, DataType.F32, maxTokens, invFreq.length);
  }

  public long half() {
    return invFreq.rows();
  }

  Tensor invFreq() {
    return invFreq;
  }

  float scale() {
    return scale;
  }

  boolean interleaved() {
    return interleaved;
  }

  Tensor cos() {
    return cos;
  }

  Tensor sin() {
    return sin;
  }
}
