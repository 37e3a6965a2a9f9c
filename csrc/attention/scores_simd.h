// Scores of queries against keys. Vectors run along D, and a fixed tree of shuffles turns Vec::N vectors of partial sums
// into one vector of scores. So a score does not depend on what else is computed beside it (R queries by N / R keys share
// what they load), and needs no transposed copy of the keys, which decoding could not pay for. The tree costs 45
// operations beside D multiply-adds (AVX-512).
#pragma once

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

#if defined(__AVX512F__)

/** Lane i = sum of the lanes of a[i]. */
inline Vec sums_of_all(const Vec* a) {
  __m512 quad[4];  // quad[i]: in each 128 bits, the sums over these bits of a[4 i] .. a[4 i + 3]
  for (int i = 0; i < 4; i++) {
    const Vec* b = a + 4 * i;
    const __m512 p = _mm512_add_ps(_mm512_unpacklo_ps(b[0].v, b[1].v), _mm512_unpackhi_ps(b[0].v, b[1].v));
    const __m512 q = _mm512_add_ps(_mm512_unpacklo_ps(b[2].v, b[3].v), _mm512_unpackhi_ps(b[2].v, b[3].v));
    const __m512d pd = _mm512_castps_pd(p), qd = _mm512_castps_pd(q);
    quad[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(pd, qd)), _mm512_castpd_ps(_mm512_unpackhi_pd(pd, qd)));
  }
  const auto pair = [](__m512 x, __m512 y) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  };
  return {pair(pair(quad[0], quad[1]), pair(quad[2], quad[3]))};
}

#else

/** Lane i = sum of the lanes of a[i]. */
inline Vec sums_of_all(const Vec* a) {
  __m256 quad[2];  // quad[i]: in each 128 bits, the sums over these bits of a[4 i] .. a[4 i + 3]
  for (int i = 0; i < 2; i++) {
    const Vec* b = a + 4 * i;
    const __m256 p = _mm256_add_ps(_mm256_unpacklo_ps(b[0].v, b[1].v), _mm256_unpackhi_ps(b[0].v, b[1].v));
    const __m256 q = _mm256_add_ps(_mm256_unpacklo_ps(b[2].v, b[3].v), _mm256_unpackhi_ps(b[2].v, b[3].v));
    const __m256d pd = _mm256_castps_pd(p), qd = _mm256_castps_pd(q);
    quad[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(pd, qd)), _mm256_castpd_ps(_mm256_unpackhi_pd(pd, qd)));
  }
  return {
      _mm256_add_ps(_mm256_permute2f128_ps(quad[0], quad[1], 0x20), _mm256_permute2f128_ps(quad[0], quad[1], 0x31))};
}

#endif

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
    sums_of_all(sum).store(w);
  } else {
    float lanes[Vec::N];
    sums_of_all(sum).store(lanes);
    for (int r = 0; r < R; r++) __builtin_memcpy(w + r * stride, lanes + r * K, K * sizeof(float));
  }
}

}  // namespace NM_TIER
}  // namespace nm
