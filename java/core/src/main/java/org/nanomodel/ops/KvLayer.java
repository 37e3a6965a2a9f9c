package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.nanomodel.ffi.generated.nm_kv_cache;
import org.nanomodel.tensor.Tensor;

/** One layer's keys [blocks, KV, D, block size] and values [blocks, KV, block size, D]. */
public final class KvLayer {
  private final Tensor keys;
  private final Tensor values;
  private final MemorySegment struct;

  public KvLayer(Arena arena, Tensor keys, Tensor values) {
    if (keys.rank() != 4
        || values.rank() != 4
        || keys.size(0) != values.size(0)
        || keys.size(1) != values.size(1)
        || keys.size(2) != values.size(3)
        || keys.size(3) != values.size(2)
        || keys.type() != values.type()) {
      throw new IllegalArgumentException(
          "KV layer: keys "
              + keys
              + ", values "
              + values
              + ", expected [blocks, KV, D, size] and [blocks, KV, size, D]");
    }
    this.keys = keys;
    this.values = values;
    struct = nm_kv_cache.allocate(arena);
    nm_kv_cache.struct_size(struct, (int) struct.byteSize());
    nm_kv_cache.type(struct, keys.type().nativeCode());
    nm_kv_cache.blocks(struct, keys.size(0));
    nm_kv_cache.kv_heads(struct, keys.size(1));
    nm_kv_cache.block_size(struct, values.size(2));
    nm_kv_cache.head_dim(struct, values.size(3));
    nm_kv_cache.keys(struct, keys.segment());
    nm_kv_cache.values(struct, values.segment());
  }

  public Tensor keys() {
    return keys;
  }

  public Tensor values() {
    return values;
  }

  public long kvHeads() {
    return keys.size(1);
  }

  public long headDim() {
    return values.size(3);
  }

  /** The {@code nm_kv_cache}. */
  MemorySegment struct(boolean written) {
    Checks.memory("kv.keys", keys, written);
    Checks.memory("kv.values", values, written);
    return Checks.read("kv", struct, 8);
  }
}
