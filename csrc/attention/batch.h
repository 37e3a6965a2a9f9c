// The ragged batch and the paged cache of one step: checks, and which block a position lies in.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

/** Of the batch only `positions` is needed; they must not be negative. */
const nm_batch& check_positions(const nm_batch* batch);

const nm_kv_cache& check_cache(const nm_kv_cache* cache);

/**
 * Positions, sequences, and that every block a token touches exists: the one of its own position, or with `reach` (0 =
 * from the beginning) those of the last `reach` positions up to its own.
 */
const nm_batch& check_batch(const nm_batch* batch, const nm_kv_cache& cache, int64_t reach);

/** Where the block of a KV head lies that holds a position of a sequence, in elements: D x block_size of them. */
inline int64_t cache_block(const nm_batch& batch, const nm_kv_cache& cache, int64_t sequence, int64_t kv_head,
                           int64_t position) {
  const int64_t block = batch.block_table[sequence * batch.block_table_stride + position / cache.block_size];
  return (block * cache.kv_heads + kv_head) * cache.block_size * cache.head_dim;
}

}  // namespace nm
