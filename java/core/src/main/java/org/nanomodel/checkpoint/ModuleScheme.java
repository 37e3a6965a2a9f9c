package org.nanomodel.checkpoint;

/**
 * How one module is quantized: the checkpoint's defaults with its {@code dynamic} overrides
 * applied.
 */
public record ModuleScheme(int bits, long groupSize, boolean sym, boolean descAct) {
  /** The group in input columns: -1, or one wider than the row, means the whole row. */
  public long groupOf(long k) {
    return groupSize < 0 ? k : Math.min(groupSize, k);
  }

  /** Groups of a row; the last one may be short. */
  public long groups(long k) {
    return Math.ceilDiv(k, groupOf(k));
  }
}
