package org.nanomodel.model;

import java.util.Arrays;

/**
 * One text in a KV cache: how many tokens it has, and in which blocks their keys and values lie.
 * Closing it gives the blocks back. Used by one thread at a time.
 */
public final class Sequence implements AutoCloseable {
  private static final int BLOCK = KvCache.BLOCK;

  private final KvCache cache;
  private int[] blocks = new int[8];
  private int blockCount;
  private int length;
  private boolean closed;

  Sequence(KvCache cache) {
    this.cache = cache;
  }

  public KvCache cache() {
    return cache;
  }

  /** Tokens in the cache. */
  public int length() {
    return length;
  }

  /**
   * Another sequence with the same tokens, which shares their blocks until one of the two writes.
   */
  public Sequence fork() {
    checkOpen();
    var copy = new Sequence(cache);
    copy.blocks = blocks.clone();
    copy.blockCount = blockCount;
    copy.length = length;
    for (int i = 0; i < blockCount; i++) {
      cache.share(blocks[i]);
    }
    return copy;
  }

  /** Forgets all tokens after the first {@code n}. */
  public void truncate(int n) {
    checkOpen();
    if (n < 0 || n > length) {
      throw new IllegalArgumentException("truncate to " + n + " of " + length + " tokens");
    }
    length = n;
    int keep = Math.ceilDiv(n, BLOCK);
    while (blockCount > keep) {
      cache.giveBack(blocks[--blockCount]);
    }
  }

  /** How many blocks of the cache the next {@code n} tokens would take. */
  public int blocksNeeded(int n) {
    checkOpen();
    boolean copies = n > 0 && length % BLOCK != 0 && cache.isShared(blocks[length / BLOCK]);
    return Math.max(0, Math.ceilDiv(length + n, BLOCK) - blockCount) + (copies ? 1 : 0);
  }

  /** Takes the blocks that the next {@code n} tokens will be written to. */
  void reserve(int n) {
    checkOpen();
    int needed = Math.ceilDiv(Math.addExact(length, n), BLOCK);
    if (n > 0 && length % BLOCK != 0) {
      ownLastBlock(length / BLOCK);
    }
    if (needed > blocks.length) {
      blocks = Arrays.copyOf(blocks, Math.max(needed, 2 * blocks.length));
    }
    while (blockCount < needed) {
      blocks[blockCount] = cache.take();
      blockCount++;
    }
  }

  private void ownLastBlock(int i) {
    if (cache.isShared(blocks[i])) {
      int own = cache.take();
      cache.copy(blocks[i], own);
      cache.giveBack(blocks[i]);
      blocks[i] = own;
    }
  }

  /** The step that wrote {@code n} tokens is done. */
  void advance(int n) {
    length += n;
  }

  int[] blocks() {
    return blocks;
  }

  int blockCount() {
    return blockCount;
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the sequence is closed");
    }
  }

  @Override
  public void close() {
    if (!closed) {
      truncate(0);
      closed = true;
    }
  }
}
