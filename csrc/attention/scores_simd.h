// Scores of queries against keys. Vectors run along D, and a fixed tree of shuffles turns Vec::N vectors of partial sums
// into one vector of scores. So a score does not depend on what else is computed beside it (R queries by N / R keys share
// what they load), and needs no transposed copy of the keys, which decoding could not pay for. The tree costs 45
// operations beside D multiply-adds (AVX-512).
#pragma once

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

/** w[r * stride + k] = q[r] . keys[k] over D elements, r < R, k < Vec::N / R. */
template <int R>
inline void scores(const float* const* q, const float* const* keys, int64_t D, float* w, int64_t stride) {
  constexpr int K = Vec::N / R;
  Vec sum[Vec::N];
  for (Vec& s : sum) s = Vec::zero();
  int64_t d = 0;
  for (; d + Vec::N <= D; d += Vec::N) {
    Vec x[R];
    for (int r = 0; r < R; r++) x[r] = Vec::load(q[r] + d);
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) {
      const Vec y = Vec::load(keys[k] + d);
      for (int r = 0; r < R; r++) sum[r * K + k] = Vec::fma(x[r], y, sum[r * K + k]);
    }
  }
  if (d < D) {
    const int rest = static_cast<int>(D - d);
    Vec x[R];
    for (int r = 0; r < R; r++) x[r] = Vec::load(q[r] + d, rest);
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) {
      const Vec y = Vec::load(keys[k] + d, rest);
      for (int r = 0; r < R; r++) sum[r * K + k] = Vec::fma(x[r], y, sum[r * K + k]);
    }
  }
  if constexpr (R == 1) {
    Vec::sums(sum).store(w);
  } else {
    float lanes[Vec::N];
    Vec::sums(sum).store(lanes);
    for (int r = 0; r < R; r++) __builtin_memcpy(w + r * stride, lanes + r * K, K * sizeof(float));
  }
}

}  // namespace NM_TIER
}  // namespace nm
