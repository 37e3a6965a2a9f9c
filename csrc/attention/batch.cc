#include "attention/batch.h"

#include <initializer_list>

#include "core/check.h"

namespace nm {
namespace {

void check_blocks(const nm_batch& batch, const nm_kv_cache& cache, int64_t sequence, int64_t first, int64_t last) {
  if (last >= batch.block_table_stride)
    fail(NM_ERR_ARGUMENT, "batch.positions: sequence %lld reaches block %lld of its row, block_table_stride is %lld",
         static_cast<long long>(sequence), static_cast<long long>(last),
         static_cast<long long>(batch.block_table_stride));
  const int32_t* row = batch.block_table + sequence * batch.block_table_stride;
  for (int64_t i = first; i <= last; i++)
    if (row[i] < 0 || row[i] >= cache.blocks)
      fail(NM_ERR_ARGUMENT, "batch.block_table[%lld,%lld]: got %d, expected 0..%lld", static_cast<long long>(sequence),
           static_cast<long long>(i), row[i], static_cast<long long>(cache.blocks - 1));
}

}  // namespace

const nm_batch& check_positions(const nm_batch* address) {
  const nm_batch& batch = check_struct("batch", address);
  check_range("batch.tokens", batch.tokens, 0, INT32_MAX);
  check_array("batch.positions", batch.positions, batch.tokens);
  for (int64_t t = 0; t < batch.tokens; t++)
    if (batch.positions[t] < 0)
      fail(NM_ERR_ARGUMENT, "batch.positions[%lld]: got %d, expected at least 0", static_cast<long long>(t),
           batch.positions[t]);
  return batch;
}

const nm_kv_cache& check_cache(const nm_kv_cache* address) {
  const nm_kv_cache& cache = check_struct("cache", address);
  if (cache.type != NM_F32)
    fail(cache.type == NM_F16 || cache.type == NM_BF16 ? NM_ERR_UNSUPPORTED : NM_ERR_ARGUMENT,
         "cache.type: got %d, expected %d (F32)", cache.type, NM_F32);
  check_range("cache.blocks", cache.blocks, 1, INT32_MAX);
  check_range("cache.block_size", cache.block_size, 1, INT32_MAX);
  check_range("cache.kv_heads", cache.kv_heads, 1, INT32_MAX);
  check_range("cache.head_dim", cache.head_dim, 1, INT32_MAX);
  int64_t elements = cache.blocks;
  for (const int64_t factor : {cache.block_size, cache.kv_heads, cache.head_dim}) {
    if (elements > kMaxBytes / factor)
      fail(NM_ERR_ARGUMENT, "cache: blocks x block_size x kv_heads x head_dim overflow");
    elements *= factor;
  }
  check_array("cache.keys", static_cast<const float*>(cache.keys), elements);
  check_array("cache.values", static_cast<const float*>(cache.values), elements);
  return cache;
}

const nm_batch& check_batch(const nm_batch* address, const nm_kv_cache& cache, int64_t reach) {
  const nm_batch& batch = check_positions(address);
  check_range("batch.sequences", batch.sequences, batch.tokens > 0 ? 1 : 0, INT32_MAX);
  check_array("batch.sequence", batch.sequence, batch.tokens);
  check_range("batch.block_table_stride", batch.block_table_stride, batch.tokens > 0 ? 1 : 0, INT32_MAX);
  check_array("batch.block_table", batch.block_table, batch.sequences * batch.block_table_stride);
  for (int64_t begin = 0, end; begin < batch.tokens; begin = end) {  // a run of one sequence
    const int64_t sequence = batch.sequence[begin];
    if (sequence < 0 || sequence >= batch.sequences)
      fail(NM_ERR_ARGUMENT, "batch.sequence[%lld]: got %lld, expected 0..%lld", static_cast<long long>(begin),
           static_cast<long long>(sequence), static_cast<long long>(batch.sequences - 1));
    int64_t least = batch.positions[begin], most = least;
    for (end = begin; end < batch.tokens && batch.sequence[end] == sequence; end++) {
      if (batch.positions[end] < least) least = batch.positions[end];
      if (batch.positions[end] > most) most = batch.positions[end];
    }
    const int64_t first = reach == 0 || reach > least ? 0 : least - reach + 1;
    check_blocks(batch, cache, sequence, first / cache.block_size, most / cache.block_size);
  }
  return batch;
}

}  // namespace nm
