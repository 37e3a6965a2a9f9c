package org.nanomodel.quantize;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.nanomodel.model.Config;
import org.nanomodel.model.ModuleTree;
import org.nanomodel.ops.Activation;
import org.nanomodel.tensor.Tensor;

/**
 * Where the scales of a group of linears go, so that the model computes the same: W[:,k] * s[k] in
 * the group, and divided by s in the norm that feeds it, weight and bias, or in the last rows of
 * the linear that does.
 *
 * <p>Where several query heads share a head of values (grouped-query attention), a row of values
 * feeds as many channels of the output projection, and these share its scale.
 *
 * @param source full name of the norm or linear
 * @param consumers full names of the group's linears
 * @param row for each channel of the group's input the element of the norm, or which of the
 *     source's last rows
 * @param rows how many of the source's last rows take part
 */
record ScaleFold(String source, boolean fedByNorm, List<String> consumers, int[] row, int rows) {

  /** Empty where something between the source and the group would notice. */
  static Optional<ScaleFold> of(Config model, int layer, ModuleTree.Group group) {
    ModuleTree tree = model.tree();
    if (group.source() == null) {
      return Optional.empty();
    }
    String source = tree.module(layer, group.source());
    List<String> consumers = tree.modules(layer, group);
    if (tree.fedByNorm(group)) {
      // A norm after the sum feeds the next sum too.
      return Optional.of(model.hiddenSize())
          .filter(n -> model.preNorm())
          .map(n -> new ScaleFold(source, true, consumers, identity(n), n));
    }
    var before =
        tree.groups().stream().filter(g -> g.modules().contains(group.source())).findFirst();
    if (before.orElseThrow().equals(tree.groups().getFirst())) {
      int shared = model.heads() / model.kvHeads();
      int d = model.headDim();
      int[] row =
          IntStream.range(0, model.queryDim()).map(k -> k / d / shared * d + k % d).toArray();
      return Optional.of(new ScaleFold(source, false, consumers, row, model.kvDim()));
    }
    // Beside a gate the source enters the product as it is; alone it goes through the activation,
    // which lets positive scales pass only where it is ReLU.
    boolean gated = before.get().modules().size() > 1;
    return gated || model.activation() == Activation.RELU
        ? Optional.of(
            new ScaleFold(source, false, consumers, identity(model.ffnSize()), model.ffnSize()))
        : Optional.empty();
  }

  private static int[] identity(int n) {
    return IntStream.range(0, n).toArray();
  }

  /** Means of a channel's value over the channels that share its scale. */
  double[] shared(double[] channels) {
    var sum = new double[rows];
    var count = new int[rows];
    for (int k = 0; k < row.length; k++) {
      sum[row[k]] += channels[k];
      count[row[k]]++;
    }
    return Arrays.stream(row).mapToDouble(r -> sum[r] / count[r]).toArray();
  }

  /** The largest of a channel's values over the channels that share its scale. */
  float[] largest(float[] channels) {
    var most = new float[rows];
    for (int k = 0; k < row.length; k++) {
      most[row[k]] = Math.max(most[row[k]], channels[k]);
    }
    var largest = new float[row.length];
    for (int k = 0; k < row.length; k++) {
      largest[k] = most[row[k]];
    }
    return largest;
  }

  /**
   * Folds scales in. A norm whose type rounds the quotient decides itself by how much its output
   * shrinks: {@code s} becomes that, and the group takes it over.
   */
  void apply(FoldedWeights weights, float[] s) {
    if (fedByNorm) {
      divideNorm(weights, s);
    } else {
      divideRows(weights, s);
    }
    for (String consumer : consumers) {
      Tensor w = weights.matrix(consumer);
      for (long n = 0; n < w.rows(); n++) {
        for (int k = 0; k < s.length; k++) {
          w.setFloat(n, k, w.getFloat(n, k) * s[k]);
        }
      }
    }
  }

  private void divideNorm(FoldedWeights weights, float[] s) {
    Tensor weight = weights.vector(source + ".weight").orElseThrow().reshape(1, s.length);
    float[] before = weight.toFloats();
    divide(weight, s);
    weights.roundAsStored(source + ".weight");
    for (int k = 0; k < s.length; k++) {
      float ratio = before[k] / weight.getFloat(0, k);
      s[k] = ratio > 0 && Float.isFinite(ratio) ? ratio : s[k];
    }
    weights.vector(source + ".bias").ifPresent(bias -> divide(bias.reshape(1, s.length), s));
  }

  private static void divide(Tensor vector, float[] s) {
    for (int k = 0; k < s.length; k++) {
      vector.setFloat(0, k, vector.getFloat(0, k) / s[k]);
    }
  }

  private void divideRows(FoldedWeights weights, float[] s) {
    var of = new float[rows];
    for (int k = 0; k < row.length; k++) {
      of[row[k]] = s[k];
    }
    Tensor all = weights.matrix(source);
    long first = all.rows() - rows;
    for (int r = 0; r < rows; r++) {
      for (long k = 0; k < all.cols(); k++) {
        all.setFloat(first + r, k, all.getFloat(first + r, k) / of[r]);
      }
    }
    weights
        .vector(source + ".bias")
        .ifPresent(
            bias -> divide(bias.reshape(all.rows(), 1).rows(first, rows).reshape(1, rows), of));
  }
}
