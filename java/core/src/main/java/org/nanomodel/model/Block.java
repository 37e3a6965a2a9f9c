package org.nanomodel.model;

import java.util.List;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.KvLayer;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * One decoder layer with its weights. Blocks know nothing of each other: a model keeps all, a
 * quantizer one at a time.
 */
public interface Block extends AutoCloseable {
  /**
   * x: [T, dim], one row a token of the batch, updated in place; {@link Scratch#begin} was called
   * for the step.
   */
  void forward(Ops ops, Scratch scratch, Tensor x, BatchDescriptor batch, KvLayer kv);

  /** Its linears, in the order in which they run; fused ones name several modules. */
  List<Linear> linears();

  /** Frees the weights. */
  @Override
  void close();
}
