package org.nanomodel.ops;

/**
 * A linear's weight [N, K] as a checkpoint holds it, before it is packed: N output features, K
 * input features.
 */
public sealed interface WeightData permits FloatWeight, QuantizedWeight {
  long n();

  long k();
}
