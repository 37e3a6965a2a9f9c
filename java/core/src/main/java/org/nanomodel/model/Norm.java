package org.nanomodel.model;

import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** A norm with its weights: RMS (Zhang and Sennrich 2019), or layer norm with its bias. */
final class Norm {
  /** How rows are normed. */
  enum Kind {
    RMS,
    LAYER
  }

  private final Kind kind;
  private final Tensor weight;
  private final Tensor bias;
  private final float eps;

  private Norm(Kind kind, Tensor weight, Tensor bias, float eps) {
    this.kind = kind;
    this.weight = weight;
    this.bias = bias;
    this.eps = eps;
  }

  static Norm load(WeightLoader w, Kind kind, String module, long n, float eps) {
    Tensor weight = w.vector(module + ".weight", n);
    return new Norm(kind, weight, kind == Kind.RMS ? null : w.vector(module + ".bias", n), eps);
  }

  /** y = norm(x), row by row; y may be x. */
  void forward(Ops ops, Tensor y, Tensor x) {
    switch (kind) {
      case RMS -> ops.rmsNorm(y, x, weight, eps);
      case LAYER -> ops.layerNorm(y, x, weight, bias, eps);
    }
  }
}
