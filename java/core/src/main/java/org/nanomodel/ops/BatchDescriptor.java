package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.ffi.generated.nm_batch;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The ragged batch as kernels read it: T tokens of S sequences, prefill and decode mixed; each
 * token's position and sequence, each sequence's row of KV block numbers. Memory is allocated once
 * and refilled each step.
 */
public final class BatchDescriptor {
  private static final int FIRST_STRIDE = 128;

  private final MemorySegment struct;
  private final Tensor positions;
  private final Tensor[] positionViews;
  private final MemorySegment sequence;
  private final int maxTokens;
  private final int maxSequences;
  private final int maxBlocks;
  private MemorySegment blockTable;
  private int stride;
  private int tokens;
  private int sequences;

  /**
   * @param maxTokens the most tokens of a step
   * @param maxSequences the most sequences of a step
   * @param maxBlocks the most KV blocks of a sequence
   */
  public BatchDescriptor(Arena arena, int maxTokens, int maxSequences, int maxBlocks) {
    if (maxTokens < 1 || maxSequences < 1 || maxBlocks < 1) {
      throw new IllegalArgumentException(
          "batch of "
              + maxTokens
              + " tokens, "
              + maxSequences
              + " sequences, "
              + maxBlocks
              + " blocks");
    }
    this.maxTokens = maxTokens;
    this.maxSequences = maxSequences;
    this.maxBlocks = maxBlocks;
    positions = Tensor.allocate(arena, DataType.I32, maxTokens);
    positionViews = new Tensor[maxTokens + 1];
    sequence = Tensor.allocate(arena, DataType.I32, maxTokens).segment();
    struct = nm_batch.allocate(arena);
    nm_batch.struct_size(struct, (int) struct.byteSize());
    nm_batch.positions(struct, positions.segment());
    nm_batch.sequence(struct, sequence);
    setTable(arena, Math.min(maxBlocks, FIRST_STRIDE));
  }

  /** A table of wider rows, with the rows of the step so far. */
  private void setTable(Arena arena, int newStride) {
    MemorySegment table = Tensor.allocate(arena, DataType.I32, maxSequences, newStride).segment();
    for (long s = 0; s < sequences; s++) {
      MemorySegment.copy(blockTable, 4L * s * stride, table, 4L * s * newStride, 4L * stride);
    }
    blockTable = table;
    stride = newStride;
    nm_batch.block_table(struct, blockTable);
    nm_batch.block_table_stride(struct, stride);
  }

  public void clear() {
    tokens = 0;
    sequences = 0;
  }

  /**
   * Adds a sequence that brings the tokens of positions {@code first .. first + n - 1}; returns its
   * number.
   */
  public int add(int[] blocks, int blockCount, int first, int n) {
    if (sequences == maxSequences
        || n < 0
        || n > maxTokens - tokens
        || blockCount > maxBlocks
        || first < 0) {
      throw new IllegalArgumentException(
          "batch is full: "
              + tokens
              + " + "
              + n
              + " of "
              + maxTokens
              + " tokens, "
              + sequences
              + " + 1 of "
              + maxSequences
              + " sequences, "
              + blockCount
              + " of "
              + maxBlocks
              + " blocks");
    }
    if (blockCount > stride) {
      setTable(Arena.ofAuto(), (int) Math.min(maxBlocks, Math.max(blockCount, 2L * stride)));
    }
    MemorySegment.copy(
        blocks, 0, blockTable, ValueLayout.JAVA_INT, 4L * sequences * stride, blockCount);
    for (int i = 0; i < n; i++) {
      positions.segment().setAtIndex(ValueLayout.JAVA_INT, tokens + i, first + i);
      sequence.setAtIndex(ValueLayout.JAVA_INT, tokens + i, sequences);
    }
    tokens += n;
    return sequences++;
  }

  /** The position of each token of the step in its sequence: I32 [T]. */
  public Tensor positions() {
    if (positionViews[tokens] == null) {
      positionViews[tokens] = positions.rows(0, tokens);
    }
    return positionViews[tokens];
  }

  /** T. */
  public int tokens() {
    return tokens;
  }

  /** S. */
  public int sequences() {
    return sequences;
  }

  public int maxTokens() {
    return maxTokens;
  }

  public int maxSequences() {
    return maxSequences;
  }

  /** The {@code nm_batch}, with the counts of this step. */
  MemorySegment struct() {
    Checks.read("batch", struct, 8);
    nm_batch.tokens(struct, tokens);
    nm_batch.sequences(struct, sequences);
    return struct;
  }
}
