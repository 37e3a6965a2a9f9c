package org.nanomodel.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.KvLayer;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Keys and values of all layers, in blocks of {@value #BLOCK} tokens that sequences take and give
 * back (Kwon et al. 2023). Blocks are counted, so that forked sequences share their beginning.
 * Memory grows by doubling up to the tokens that it was made for. The cache may grow when tokens
 * are added, so it serves one step at a time; sequences may be closed by any thread.
 */
public final class KvCache implements AutoCloseable {
  /** Tokens of a block. */
  public static final int BLOCK = 16;

  private static final int FIRST_BLOCKS = 16;

  /** The most blocks of a cache. */
  public static final int MAX_BLOCKS = 1 << 30;

  private static final long MAX_TOKENS = (long) MAX_BLOCKS * BLOCK;

  private final Engine engine;
  private final Config config;
  private final int maxBlocks;
  private final KvLayer[] layers;
  private final Arena[] arenas;
  private int[] free;
  private int freeCount;
  private int[] references;
  private int capacity;
  private boolean closed;

  /**
   * @param layers how many layers it serves: a model's, or 1 for blocks run one at a time
   * @param maxTokens the most tokens of all sequences together, each rounded up to whole blocks
   */
  public KvCache(Engine engine, Config config, int layers, long maxTokens) {
    if (maxTokens < 1 || maxTokens > MAX_TOKENS) {
      throw new IllegalArgumentException(
          "a KV cache for " + maxTokens + " tokens, expected 1 to " + MAX_TOKENS);
    }
    this.engine = engine;
    this.config = config;
    this.maxBlocks = Math.toIntExact(Math.ceilDiv(maxTokens, (long) BLOCK));
    this.layers = new KvLayer[layers];
    this.arenas = new Arena[layers];
    this.free = new int[0];
    this.references = new int[0];
    grow(Math.min(FIRST_BLOCKS, maxBlocks));
  }

  /** Bytes that a cache of so many tokens takes when it is full. */
  public static long bytes(Config config, int layers, long maxTokens) {
    return 2 * Math.ceilDiv(maxTokens, (long) BLOCK) * BLOCK * config.kvDim() * 4L * layers;
  }

  public long maxTokens() {
    return (long) maxBlocks * BLOCK;
  }

  /** Blocks in use. */
  public synchronized int usedBlocks() {
    return capacity - freeCount;
  }

  /** Blocks that can still be taken. */
  public synchronized int freeBlocks() {
    return maxBlocks - capacity + freeCount;
  }

  /** Bytes of memory that it holds now. */
  public synchronized long bytes() {
    return closed ? 0 : bytes(config, layers.length, (long) capacity * BLOCK);
  }

  /** Gives memory back if no block is in use. */
  public synchronized void trim() {
    int few = Math.min(FIRST_BLOCKS, maxBlocks);
    if (closed || freeCount < capacity || capacity <= few) {
      return;
    }
    for (int i = 0; i < layers.length; i++) {
      layers[i] = null;
    }
    freeCount = 0;
    capacity = 0;
    grow(few);
  }

  public Sequence newSequence() {
    checkOpen();
    return new Sequence(this);
  }

  public synchronized KvLayer layer(int i) {
    checkOpen();
    return layers[i];
  }

  synchronized int take() {
    checkOpen();
    if (freeCount == 0) {
      if (capacity == maxBlocks) {
        throw new NanoModelException(
            "the KV cache is full: "
                + maxTokens()
                + " tokens; end a sequence, or make the cache or the context larger");
      }
      grow((int) Math.min(2L * capacity, maxBlocks));
    }
    int block = free[--freeCount];
    references[block] = 1;
    return block;
  }

  synchronized void share(int block) {
    references[block]++;
  }

  synchronized boolean isShared(int block) {
    return references[block] > 1;
  }

  synchronized void giveBack(int block) {
    if (!closed && --references[block] == 0) {
      free[freeCount++] = block;
    }
  }

  /** Copies a block's keys and values in all layers. */
  synchronized void copy(int from, int to) {
    checkOpen();
    for (KvLayer l : layers) {
      copy(l.keys(), from, to);
      copy(l.values(), from, to);
    }
  }

  private static void copy(Tensor t, int from, int to) {
    MemorySegment.copy(t.rows(from, 1).segment(), 0, t.rows(to, 1).segment(), 0, t.cols() * 4);
  }

  private void grow(int blocks) {
    for (int i = 0; i < layers.length; i++) {
      grow(i, blocks);
    }
    free = Arrays.copyOf(free, blocks);
    references = Arrays.copyOf(references, blocks);
    for (int b = blocks - 1; b >= capacity; b--) {
      free[freeCount++] = b;
    }
    capacity = blocks;
  }

  /** Layer by layer, so that only one layer is there twice. */
  private void grow(int i, int blocks) {
    Arena arena = Arena.ofShared();
    try {
      Tensor keys =
          Tensor.allocate(arena, DataType.F32, blocks, config.kvHeads(), config.headDim(), BLOCK);
      Tensor values =
          Tensor.allocate(arena, DataType.F32, blocks, config.kvHeads(), BLOCK, config.headDim());
      if (layers[i] != null) {
        MemorySegment.copy(
            layers[i].keys().segment(),
            0,
            keys.segment(),
            0,
            layers[i].keys().segment().byteSize());
        MemorySegment.copy(
            layers[i].values().segment(),
            0,
            values.segment(),
            0,
            layers[i].values().segment().byteSize());
      }
      layers[i] = new KvLayer(arena, keys, values);
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
    if (arenas[i] != null) {
      engine.betweenCalls(arenas[i]::close);
    }
    arenas[i] = arena;
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the KV cache is closed");
    }
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      for (Arena arena : arenas) {
        engine.betweenCalls(arena::close);
      }
    }
  }
}
