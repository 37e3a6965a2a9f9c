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
constexpr int64_t kTileRows = 64;              // queries that share a pass over the keys

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
        const int64_t row = cache_row(batch, cache, batch.sequence[t], h, batch.positions[t]);
        std::memcpy(static_cast<float*>(cache.keys) + row, a.key + t * a.key_stride + h * D, bytes);
        std::memcpy(static_cast<float*>(cache.values) + row, a.value + t * a.value_stride + h * D, bytes);
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

}  // namespace

void attention(Engine& engine, const nm_attention_args& a) {
  check(a);
  run_direct(engine, a);
}

}  // namespace nm
