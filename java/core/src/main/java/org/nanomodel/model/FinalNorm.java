package org.nanomodel.model;

import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** What lies between the last block and the head. */
public final class FinalNorm {
  private final Tensor weight;
  private final float eps;

  private FinalNorm(Tensor weight, float eps) {
    this.weight = weight;
    this.eps = eps;
  }

  public static FinalNorm load(Engine engine, Config config, Weights weights) {
    try (var loader = new WeightLoader(engine, weights)) {
      String name = config.tree().norm() + ".weight";
      return new FinalNorm(loader.vector(name, config.hiddenSize()), config.normEps());
    }
  }

  /** x: F32 [T, dim], in place. */
  public void forward(Ops ops, Tensor x) {
    ops.rmsNorm(x, x, weight, eps);
  }
}
