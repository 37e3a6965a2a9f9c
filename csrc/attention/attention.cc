#include "attention/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/batch.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkElements = 1 << 17;    // some 20 us of copying
constexpr int64_t kChunkMultiplies = 1 << 19;  // some 20 us of attention
constexpr int64_t kTileRows = 96;              // queries that share a pass over the keys
constexpr int64_t kLoadedRows = 4;             // a key takes as long to load as to multiply with so many rows

void check_rows(const char* name, const float* x, int64_t tokens, int64_t heads, int64_t head_dim, int64_t stride) {
  if (heads > kMaxBytes / head_dim)
    fail(NM_ERR_ARGUMENT, "%s: %lld heads x %lld elements overflow", name, static_cast<long long>(heads),
         static_cast<long long>(head_dim));
  check_matrix(name, x, tokens, heads * head_dim, stride);
}

}  // namespace

void kv_append(Engine& engine, const nm_kv_append_args& a) {
  const nm_kv_cache& cache = check_cache(a.cache);
  const nm_batch& batch = check_batch(a.batch, cache, 1);
  const int64_t D = cache.head_dim, heads = cache.kv_heads;
  check_rows("key", a.key, batch.tokens, heads, D, a.key_stride);
  check_rows("value", a.value, batch.tokens, heads, D, a.value_stride);
  check_array("cancel", a.cancel, 0);
  const size_t bytes = static_cast<size_t>(D) * sizeof(float);
  engine.parallel_for(batch.tokens, kChunkElements / (heads * D) + 1, a.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++) {
      for (int64_t h = 0; h < heads; h++) {
        const int64_t block = cache_block(batch, cache, batch.sequence[t], h, batch.positions[t]);
        const int64_t at = batch.positions[t] % cache.block_size;
        float* key = static_cast<float*>(cache.keys) + block + at;
        for (int64_t d = 0; d < D; d++) key[d * cache.block_size] = a.key[t * a.key_stride + h * D + d];
        std::memcpy(static_cast<float*>(cache.values) + block + at * D, a.value + t * a.value_stride + h * D, bytes);
      }
    }
  });
}

namespace {

void check(const nm_attention_args& a) {
  const nm_kv_cache& cache = check_cache(a.cache);
  check_range("window", a.window, 0, INT32_MAX);
  const nm_batch& batch = check_batch(a.batch, cache, a.window);
  if (!std::isfinite(a.scale))
    fail(NM_ERR_ARGUMENT, "scale: got %g, expected a finite number", static_cast<double>(a.scale));
  check_range("heads", a.heads, 1, INT32_MAX);
  if (a.heads % cache.kv_heads != 0)
    fail(NM_ERR_ARGUMENT, "heads: got %lld, expected a multiple of cache.kv_heads (%lld)",
         static_cast<long long>(a.heads), static_cast<long long>(cache.kv_heads));
  check_rows("q", a.q, batch.tokens, a.heads, cache.head_dim, a.q_stride);
  check_rows("y", a.y, batch.tokens, a.heads, cache.head_dim, a.y_stride);
  check_array("cancel", a.cancel, 0);
}

void run_direct(Engine& engine, const nm_attention_args& a) {
  const int64_t D = a.cache->head_dim;
  for (int w = 0; w < engine.threads(); w++) engine.work(w).get<double>(D);
  const auto direct = engine.kernels().attention->direct;
  engine.parallel_for(a.batch->tokens * a.heads, 1, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    direct(a, begin, end, engine.work(worker).get<double>(D));
  });
}

/** The step's query tiles in shared work memory, and what they cost. */
struct Plan {
  AttentionTile* tiles;
  int64_t count = 0, multiplies = 0, segments = 0, states = 0;
};

int64_t first_segment(const nm_attention_args& a, const AttentionTile& tile) {
  int64_t least = INT64_MAX;
  for (int64_t t = tile.token; t < tile.token + tile.tokens; t++)
    least = std::min<int64_t>(least, a.batch->positions[t]);
  return a.window > 0 && least >= a.window ? (least - a.window + 1) / kAttentionSegment : 0;
}

int64_t end_segment(const nm_attention_args& a, const AttentionTile& tile) {
  int64_t most = 0;
  for (int64_t t = tile.token; t < tile.token + tile.tokens; t++) most = std::max<int64_t>(most, a.batch->positions[t]);
  return most / kAttentionSegment + 1;
}

void add_tile(const nm_attention_args& a, const AttentionTile& tile, Plan& plan) {
  const int64_t D = a.cache->head_dim, group = a.heads / a.cache->kv_heads;
  plan.tiles[plan.count++] = tile;
  const int64_t segments = end_segment(a, tile) - first_segment(a, tile);
  plan.segments += segments;
  plan.states += segments * tile.rows;
  int64_t seen = 0;
  for (int64_t t = tile.token; t < tile.token + tile.tokens; t++) {
    const int64_t all = a.batch->positions[t] + int64_t{1};
    seen += a.window > 0 ? std::min(all, a.window) : all;
  }
  plan.multiplies += 2 * D * std::max(group * seen, kLoadedRows * seen / tile.tokens);
}

/** Runs of one sequence, KV head by KV head (a thread meets the same keys again), the longest tiles first. */
Plan make_plan(const nm_attention_args& a, AttentionTile* tiles) {
  const nm_batch& batch = *a.batch;
  const int64_t group = a.heads / a.cache->kv_heads;
  const int64_t width = std::max<int64_t>(1, kTileRows / group);
  Plan plan{tiles};
  for (int64_t begin = 0, end; begin < batch.tokens; begin = end) {
    for (end = begin + 1; end < batch.tokens && batch.sequence[end] == batch.sequence[begin];) end++;
    for (int64_t head = 0; head < a.cache->kv_heads; head++)
      for (int64_t last = end; last > begin; last -= width) {
        const int64_t token = std::max(begin, last - width);
        add_tile(a, {token, last - token, head, (last - token) * group}, plan);
      }
  }
  return plan;
}

/** A thread takes all segments of a tile. */
void run_tiles(Engine& engine, const nm_attention_args& a, const Plan& plan, int64_t grain) {
  const AttentionKernels& kernels = *engine.kernels().attention;
  const int64_t stride = attention_state_stride(a.cache->head_dim);
  engine.parallel_for(plan.count, grain, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; i++) {
      const AttentionTile& tile = plan.tiles[i];
      float* state = engine.work(worker).get<float>(0);
      kernels.attend(a, tile, first_segment(a, tile), end_segment(a, tile), state, state + tile.rows * stride);
      kernels.finish(a, tile, state);
    }
  });
}

/** Few tiles over long contexts: each segment alone, then merged in order. */
void run_segments(Engine& engine, const nm_attention_args& a, const Plan& plan, float* states) {
  const AttentionKernels& kernels = *engine.kernels().attention;
  const int64_t D = a.cache->head_dim, stride = attention_state_stride(D);
  engine.parallel_for(plan.segments, std::max<int64_t>(1, plan.segments / (8 * engine.threads())), a.cancel,
                      [&](int64_t begin, int64_t end, int worker) {
                        int64_t item = 0;
                        float* state = states;
                        for (int64_t i = 0; i < plan.count && item < end; i++) {
                          const AttentionTile& tile = plan.tiles[i];
                          for (int64_t s = first_segment(a, tile); s < end_segment(a, tile);
                               s++, item++, state += tile.rows * stride)
                            if (item >= begin && item < end)
                              kernels.attend(a, tile, s, s + 1, state, engine.work(worker).get<float>(0));
                        }
                      });
  for (int64_t i = 0; i < plan.count; i++) {
    const AttentionTile& tile = plan.tiles[i];
    const int64_t segments = end_segment(a, tile) - first_segment(a, tile), size = tile.rows * stride;
    for (int64_t s = 1; s < segments; s++) kernels.merge(tile.rows, D, states, states + s * size);
    kernels.finish(a, tile, states);
    states += segments * size;
  }
}

void run_tiled(Engine& engine, const nm_attention_args& a) {
  const int64_t D = a.cache->head_dim, stride = attention_state_stride(D);
  const int64_t group = a.heads / a.cache->kv_heads;
  const int64_t rows = std::max(kTileRows, group);
  for (int w = 0; w < engine.threads(); w++) engine.work(w).get<float>(rows * stride + attention_work(rows, D));
  const int64_t tiles = a.batch->tokens * a.cache->kv_heads;
  Plan plan = make_plan(a, engine.shared_work().get<AttentionTile>(tiles));
  const int64_t grain = kChunkMultiplies * plan.count / std::max<int64_t>(plan.multiplies, 1) + 1;
  const bool whole = engine.threads() == 1 || plan.segments == plan.count || plan.count >= 4 * engine.threads() ||
                     plan.multiplies <= kChunkMultiplies;
  if (whole) return run_tiles(engine, a, plan, grain);
  // Both in one piece of memory, which may move as it grows: plan again.
  const int64_t header = (tiles * static_cast<int64_t>(sizeof(AttentionTile)) + 63) / 64 * 64;
  const int64_t bytes = header + plan.states * stride * static_cast<int64_t>(sizeof(float));
  uint8_t* memory = engine.shared_work().get<uint8_t>(bytes);
  plan = make_plan(a, reinterpret_cast<AttentionTile*>(memory));
  run_segments(engine, a, plan, reinterpret_cast<float*>(memory + header));
}

}  // namespace

void attention(Engine& engine, const nm_attention_args& a) {
  check(a);
  if (a.batch->tokens == 0) return;
  if (engine.kernels().attention->direct != nullptr)
    run_direct(engine, a);
  else
    run_tiled(engine, a);
}

}  // namespace nm
