package org.nanomodel.generate;

import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;

/**
 * Bounds of a {@link GenerationLoop}.
 *
 * @param maxSequences the most answers in the batch at once
 * @param kvTokens the most tokens of all of them together in the KV cache; 0 = as many as they can
 *     have within a quarter of the machine's memory. Memory is taken as it is used.
 * @param prefillChunk the most prompt tokens of a step in which texts are written: how long a
 *     newcomer may hold up the others
 */
public record LoopOptions(int maxSequences, long kvTokens, int prefillChunk) {
  private static final LoopOptions DEFAULTS = new LoopOptions(32, 0, 128);

  public LoopOptions {
    if (maxSequences < 1 || kvTokens < 0 || prefillChunk < 1) {
      throw new IllegalArgumentException(
          "max_sequences = %d, kv_tokens = %d, prefill_chunk = %d; expected 1, 0, 1 or more"
              .formatted(maxSequences, kvTokens, prefillChunk));
    }
  }

  public static LoopOptions defaults() {
    return DEFAULTS;
  }

  public LoopOptions withMaxSequences(int value) {
    return new LoopOptions(value, kvTokens, prefillChunk);
  }

  public LoopOptions withKvTokens(long value) {
    return new LoopOptions(maxSequences, value, prefillChunk);
  }

  public LoopOptions withPrefillChunk(int value) {
    return new LoopOptions(maxSequences, kvTokens, value);
  }

  /** Tokens in whole blocks that the cache of this model shall hold. */
  long kvTokensOf(CausalModel model) {
    int context = model.config().maxPositions();
    long wanted = kvTokens;
    if (wanted == 0) {
      long block = KvCache.bytes(model.config(), model.config().layers(), KvCache.BLOCK);
      long affordable = Math.max(1, memory() / 4 / block) * KvCache.BLOCK;
      long rounded = Math.ceilDiv((long) context, KvCache.BLOCK) * KvCache.BLOCK;
      wanted = Math.min(affordable, Math.multiplyExact(rounded, (long) maxSequences));
    }
    return Math.min(Math.ceilDiv(wanted, KvCache.BLOCK), KvCache.MAX_BLOCKS) * KvCache.BLOCK;
  }

  private static long memory() {
    var os = java.lang.management.ManagementFactory.getOperatingSystemMXBean();
    return os instanceof com.sun.management.OperatingSystemMXBean whole
        ? whole.getTotalMemorySize()
        : Runtime.getRuntime().maxMemory();
  }
}
