package org.nanomodel.ops;

/** The nonlinearities, in the order of {@code nm_activation}. */
public enum Activation {
  SILU,
  GELU,
  GELU_TANH,
  RELU
}
