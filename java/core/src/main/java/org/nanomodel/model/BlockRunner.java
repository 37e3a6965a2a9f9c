package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.util.Arrays;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Runs blocks one at a time on hidden states that the caller keeps: the layer-by-layer walk of the
 * quantizer. Texts begin at position 0 and are independent of each other. Used by one thread.
 */
public final class BlockRunner implements AutoCloseable {
  private final Scratch scratch;
  private final KvCache cache;
  private final Sequence[] sequences;
  private final BatchDescriptor batch;

  /**
   * @param maxTokens the most tokens of a call
   * @param maxTexts the most texts of a call
   */
  public BlockRunner(Engine engine, Config config, int maxTokens, int maxTexts) {
    int blocks = Math.ceilDiv(maxTokens, KvCache.BLOCK);
    this.scratch = new Scratch(config, maxTokens);
    this.cache = new KvCache(engine, config, 1, ((long) blocks + maxTexts) * KvCache.BLOCK);
    this.batch = new BatchDescriptor(Arena.ofAuto(), maxTokens, maxTexts, blocks);
    this.sequences = new Sequence[maxTexts];
    Arrays.setAll(sequences, i -> cache.newSequence());
  }

  /**
   * x = block(x).
   *
   * @param x F32 [T, dim], in place: the rows of the texts, one text after the other
   * @param lengths tokens of each text; their sum is T
   */
  public void run(Ops ops, Block block, Tensor x, int... lengths) {
    begin(x, lengths);
    try {
      scratch.begin(ops, batch);
      block.forward(ops, scratch, x, batch, cache.layer(0));
    } finally {
      end(); // also when the ops left the block in its middle
    }
  }

  /**
   * x = embedding(ids).
   *
   * @param ids I32 [T]
   */
  public void embed(Ops ops, TokenEmbedding embedding, Tensor x, Tensor ids, int... lengths) {
    begin(x, lengths);
    embedding.forward(ops, x, ids, batch.positions());
    end();
  }

  private void begin(Tensor x, int... lengths) {
    if (Arrays.stream(lengths).asLongStream().sum() != x.rows()
        || lengths.length > sequences.length) {
      throw new IllegalArgumentException(
          "texts of "
              + Arrays.toString(lengths)
              + " tokens do not fill "
              + x
              + ", or are more than "
              + sequences.length);
    }
    batch.clear();
    for (int i = 0; i < lengths.length; i++) {
      Sequence s = sequences[i];
      s.truncate(0);
      s.reserve(lengths[i]);
      batch.add(s.blocks(), s.blockCount(), 0, lengths[i]);
    }
  }

  private void end() {
    for (Sequence s : sequences) {
      s.truncate(0);
    }
  }

  @Override
  public void close() {
    cache.close();
  }
}
