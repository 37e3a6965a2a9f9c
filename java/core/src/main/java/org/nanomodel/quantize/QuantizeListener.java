package org.nanomodel.quantize;

import java.util.Map;

/** Watches a job; called on the job's thread, which waits meanwhile. */
public interface QuantizeListener {
  /** Watches nothing. */
  QuantizeListener NONE = new QuantizeListener() {};

  /**
   * How far a job is.
   *
   * @param layer number of the layer in work
   * @param layers number of layers
   * @param fraction of all weights, 0..1
   * @param seconds since the job began
   * @param etaSeconds until it ends, at the pace of this run; NaN while there is none
   * @param peakRssBytes most memory this process has had; 0 where the system does not tell
   */
  record Progress(
      int layer,
      int layers,
      double fraction,
      double seconds,
      double etaSeconds,
      long peakRssBytes) {}

  /** The job begins. */
  default void planned(QuantizePlan plan) {}

  /** A layer that an earlier run finished is taken over. */
  default void layerResumed(int layer, Progress progress) {}

  /** A module is done; it is on the disk only once its layer is. */
  default void moduleFinished(ModuleResult module, Progress progress) {}

  /** A layer is on the disk; a job that ends now goes on after it. */
  default void layerFinished(int layer, Progress progress) {}

  /**
   * The job is done.
   *
   * @param phases seconds of this run by what they were spent on: load, forward, gram, factor,
   *     columns, pack, write
   */
  default void finished(Map<String, Double> phases) {}

  /** All layers are done and the checkpoint is being put together. */
  default void assembling(Progress progress) {}
}
