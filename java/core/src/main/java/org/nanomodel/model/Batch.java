package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.ops.BatchDescriptor;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The tokens of one step: T tokens of S sequences, prefill and decode mixed, and the rows whose
 * logits are asked for. Made once and refilled each step. It owns the logits: they are valid until
 * the next step with this batch.
 */
public final class Batch {
  /** Of which tokens of a sequence the logits are wanted. */
  public enum Logits {
    NONE,
    LAST,
    ALL
  }

  private final Config config;
  private final int maxContext;
  private final BatchDescriptor descriptor;
  private final Tensor ids;
  private final Tensor rows;
  private final Tensor[] idViews;
  private final List<Sequence> sequences = new ArrayList<>();
  private final List<Integer> counts = new ArrayList<>();
  private Tensor gathered;
  private Tensor logits;
  private Tensor[] logitViews = new Tensor[0];
  private Tensor[] gatheredViews = new Tensor[0];
  private Tensor[] rowViews = new Tensor[0];
  private int rowCount;

  /**
   * @param maxTokens the most tokens of a step
   * @param maxSequences the most sequences of a step
   * @param maxContext the most tokens of a sequence
   */
  public Batch(Config config, int maxTokens, int maxSequences, int maxContext) {
    this.config = config;
    this.maxContext = maxContext;
    Arena arena = Arena.ofAuto();
    descriptor =
        new BatchDescriptor(
            arena, maxTokens, maxSequences, Math.ceilDiv(maxContext, KvCache.BLOCK));
    ids = Tensor.allocate(arena, DataType.I32, maxTokens);
    rows = Tensor.allocate(arena, DataType.I32, maxTokens);
    idViews = new Tensor[maxTokens + 1];
  }

  /** Empties the batch for the next step. */
  public Batch clear() {
    descriptor.clear();
    sequences.clear();
    counts.clear();
    rowCount = 0;
    return this;
  }

  /** Adds the next tokens of a sequence: {@code tokens[from .. from + n - 1]}. */
  public Batch add(Sequence sequence, int[] tokens, int from, int n, Logits wanted) {
    java.util.Objects.checkFromIndexSize(from, n, tokens.length);
    if (sequence.length() > maxContext - n) {
      throw new IllegalArgumentException(
          "sequence of "
              + sequence.length()
              + " + "
              + n
              + " tokens, expected at most "
              + maxContext
              + " (the context)");
    }
    if (sequences.contains(sequence)) {
      throw new IllegalArgumentException("the sequence is in this batch already");
    }
    if (!sequences.isEmpty() && sequences.getFirst().cache() != sequence.cache()) {
      throw new IllegalArgumentException("the sequences of a batch must lie in one KV cache");
    }
    for (int i = from; i < from + n; i++) {
      if (tokens[i] < 0 || tokens[i] >= config.vocabSize()) {
        throw new IllegalArgumentException(
            "token id " + tokens[i] + " at " + i + ", expected 0 to " + (config.vocabSize() - 1));
      }
    }
    int at = descriptor.tokens();
    sequence.reserve(n);
    descriptor.add(sequence.blocks(), sequence.blockCount(), sequence.length(), n);
    for (int i = 0; i < n; i++) {
      ids.segment().setAtIndex(ValueLayout.JAVA_INT, at + i, tokens[from + i]);
    }
    sequences.add(sequence);
    counts.add(n);
    int first = wanted == Logits.ALL ? 0 : wanted == Logits.LAST ? Math.max(0, n - 1) : n;
    for (int i = first; i < n; i++) {
      rows.segment().setAtIndex(ValueLayout.JAVA_INT, rowCount++, at + i);
    }
    return this;
  }

  /** T. */
  public int tokens() {
    return descriptor.tokens();
  }

  /** How many rows of logits are asked for, in the order of the tokens. */
  public int rows() {
    return rowCount;
  }

  public int maxTokens() {
    return descriptor.maxTokens();
  }

  /** The most tokens of a sequence. */
  public int maxContext() {
    return maxContext;
  }

  public BatchDescriptor descriptor() {
    return descriptor;
  }

  KvCache cache() {
    return sequences.getFirst().cache();
  }

  Tensor ids() {
    int n = tokens();
    if (idViews[n] == null) {
      idViews[n] = ids.rows(0, n);
    }
    return idViews[n];
  }

  /** The numbers of the wanted rows. */
  Tensor rowNumbers() {
    makeRoom();
    return rowViews[rowCount];
  }

  /** Room for the hidden states of the wanted rows. */
  Tensor gathered() {
    makeRoom();
    return gatheredViews[rowCount];
  }

  /** Room for the logits of the wanted rows: [rows, V]. */
  Tensor logits() {
    makeRoom();
    return logitViews[rowCount];
  }

  private void makeRoom() {
    if (logits == null || logits.rows() < rowCount) {
      Arena arena = Arena.ofAuto();
      logits = Tensor.allocate(arena, DataType.F32, rowCount, config.vocabSize());
      gathered = Tensor.allocate(arena, DataType.F32, rowCount, config.hiddenSize());
      logitViews = new Tensor[rowCount + 1];
      gatheredViews = new Tensor[rowCount + 1];
      rowViews = new Tensor[rowCount + 1];
    }
    if (logitViews[rowCount] == null) {
      logitViews[rowCount] = logits.rows(0, rowCount);
      gatheredViews[rowCount] = gathered.rows(0, rowCount);
      rowViews[rowCount] = rows.rows(0, rowCount);
    }
  }

  /** The step is done: its tokens are part of their sequences. */
  void advance() {
    for (int i = 0; i < sequences.size(); i++) {
      sequences.get(i).advance(counts.get(i));
    }
  }
}
