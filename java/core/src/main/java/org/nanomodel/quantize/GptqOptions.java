package org.nanomodel.quantize;

import java.util.List;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.GptqTriangle;
import org.nanomodel.ops.Symmetry;
import org.nanomodel.tensor.DataType;

/**
 * How GPTQ quantizes a module, under the ecosystem's names.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize input columns that share a scale; -1 = K. The last group may be short
 * @param sym symmetric: the zero is 2^(bits-1) everywhere
 * @param descAct columns in order of falling importance
 * @param actGroupAware columns by importance within their group, groups by their largest; excludes
 *     {@code descAct}, and means nothing with groupSize -1
 * @param staticGroups scales from the weights as they come, so that {@code descAct} needs no g_idx
 * @param dampPercent share of the mean of H's diagonal that is added to it; between 0 and 1
 * @param dampAutoIncrement what damp grows by where H is not positive definite; 0 = it does not
 * @param mse exponent of the error that the range of a group is searched for; 0 = the whole range
 * @param refreshGroups scales from the weights of a group as updated so far, of several ranges the
 *     one with the least loss (with mse, the least error); false = from the whole range of the
 *     weights at the beginning of a block of 128 columns, as the first implementation has it.
 *     Without effect where groups are static
 * @param scaleType what scales are rounded to before codes are taken
 * @param narrow symmetric with as many codes below zero as above, scale max|w| / (2^(bits-1) - 1)
 */
public record GptqOptions(
    int bits,
    long groupSize,
    boolean sym,
    boolean descAct,
    boolean actGroupAware,
    boolean staticGroups,
    double dampPercent,
    double dampAutoIncrement,
    double mse,
    boolean refreshGroups,
    DataType scaleType,
    boolean narrow) {

  private static final List<Integer> BITS = List.of(2, 3, 4, 8);
  private static final List<DataType> SCALE_TYPES =
      List.of(DataType.F16, DataType.BF16, DataType.F32);

  public GptqOptions {
    if (!BITS.contains(bits)) {
      throw new NanoModelException("bits " + bits + ": expected one of 2, 3, 4, 8");
    }
    if (groupSize != -1 && (groupSize < 1 || groupSize > Integer.MAX_VALUE)) {
      throw new NanoModelException(
          "group_size " + groupSize + ": expected -1 (whole row) or a positive number");
    }
    if (descAct && actGroupAware) {
      throw new NanoModelException(
          "desc_act and act_group_aware exclude each other: leave one of them off");
    }
    if (!(dampPercent > 0 && dampPercent < 1)) {
      throw new NanoModelException(
          "damp_percent " + dampPercent + ": expected a number between 0 and 1");
    }
    if (!(dampAutoIncrement >= 0 && dampAutoIncrement < 1)) {
      throw new NanoModelException(
          "damp_auto_increment " + dampAutoIncrement + ": expected 0 (off) to less than 1");
    }
    if (!(mse >= 0 && mse <= 16)) {
      throw new NanoModelException("mse " + mse + ": expected 0 (off) to 16, 2.4 as a rule");
    }
    if (narrow && !sym) {
      throw new NanoModelException("narrow codes have no zero points: expected sym");
    }
    if (!SCALE_TYPES.contains(scaleType)) {
      throw new NanoModelException("scale type " + scaleType + ": expected one of " + SCALE_TYPES);
    }
  }

  /** Symmetric, group-aware order, damp .05 growing by .01, refreshed groups, float16 scales. */
  public static GptqOptions of(int bits, long groupSize) {
    return new GptqOptions(
        bits, groupSize, true, false, true, false, .05, .01, 0, true, DataType.F16, false);
  }

  /**
   * As the layout of QQQ (Zhang et al. 2024) wants it: without g_idx, so that an order of all
   * columns leaves groups where they are; whole rows have as many codes below zero as above.
   */
  public GptqOptions qqq() {
    return new GptqOptions(
        bits,
        groupSize,
        sym,
        descAct,
        actGroupAware,
        staticGroups || descAct && groupSize > 0,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        scaleType,
        groupSize < 0);
  }

  /** The group in input columns of a module with K of them. */
  public long groupOf(long k) {
    return groupSize < 0 ? k : Math.min(groupSize, k);
  }

  Symmetry symmetry() {
    return narrow ? Symmetry.NARROW : Symmetry.of(sym);
  }

  GptqTriangle.Order order() {
    if (descAct) {
      return GptqTriangle.Order.DESC_ACT;
    }
    return actGroupAware && groupSize > 0
        ? GptqTriangle.Order.GROUP_AWARE
        : GptqTriangle.Order.NONE;
  }
}
