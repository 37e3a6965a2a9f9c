// The oracle: for each token and head one running softmax in float64 over all keys, in order.
#include <cmath>

#include "attention/attention.h"
#include "attention/batch.h"

namespace nm {
namespace ref {
namespace {

void direct(const nm_attention_args& a, int64_t begin, int64_t end, double* sums) {
  const nm_batch& batch = *a.batch;
  const nm_kv_cache& cache = *a.cache;
  const int64_t D = cache.head_dim, group = a.heads / cache.kv_heads;
  for (int64_t item = begin; item < end; item++) {
    const int64_t t = item / a.heads, h = item % a.heads, p = batch.positions[t];
    const float* q = a.q + t * a.q_stride + h * D;
    float* y = a.y + t * a.y_stride + h * D;
    double largest = -HUGE_VAL, weights = 0;
    for (int64_t d = 0; d < D; d++) sums[d] = 0;
    for (int64_t j = a.window > 0 && p >= a.window ? p - a.window + 1 : 0; j <= p; j++) {
      const int64_t block = cache_block(batch, cache, batch.sequence[t], h / group, j), at = j % cache.block_size;
      const float* key = static_cast<const float*>(cache.keys) + block + at;
      const float* value = static_cast<const float*>(cache.values) + block + at * D;
      double score = 0;
      for (int64_t d = 0; d < D; d++) score += static_cast<double>(q[d]) * key[d * cache.block_size];
      score *= a.scale;
      if (score > largest) {
        const double shrink = std::exp(largest - score);
        for (int64_t d = 0; d < D; d++) sums[d] *= shrink;
        weights *= shrink;
        largest = score;
      }
      const double weight = std::exp(score - largest);
      for (int64_t d = 0; d < D; d++) sums[d] += weight * value[d];
      weights += weight;
    }
    for (int64_t d = 0; d < D; d++) y[d] = static_cast<float>(sums[d] / weights);
  }
}

}  // namespace

const AttentionKernels attention = {direct, nullptr, nullptr, nullptr};

}  // namespace ref
}  // namespace nm
