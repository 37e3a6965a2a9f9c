// One query against Vec::N keys: vectors run along D, and a fixed tree of shuffles turns N vectors of partial sums into
// one vector of N scores. So a score does not depend on the other keys, and needs no transposed copy of them. The tree
// costs 45 operations for 16 keys beside D multiply-adds (AVX-512).
#pragma once

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

#if defined(__AVX512F__)

/** Lane i = sum of the lanes of a[i]. */
inline Vec sums_of_16(const Vec* a) {
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
inline Vec sums_of_8(const Vec* a) {
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

/** Lane i = q . keys[i] over D elements. */
inline Vec scores(const float* q, const float* const* keys, int64_t D) {
  Vec sum[Vec::N];
  for (Vec& s : sum) s = Vec::zero();
  int64_t d = 0;
  for (; d + Vec::N <= D; d += Vec::N) {
    const Vec x = Vec::load(q + d);
    for (int i = 0; i < Vec::N; i++) sum[i] = Vec::fma(x, Vec::load(keys[i] + d), sum[i]);
  }
  if (d < D) {
    const int rest = static_cast<int>(D - d);
    const Vec x = Vec::load(q + d, rest);
    for (int i = 0; i < Vec::N; i++) sum[i] = Vec::fma(x, Vec::load(keys[i] + d, rest), sum[i]);
  }
#if defined(__AVX512F__)
  return sums_of_16(sum);
#else
  return sums_of_8(sum);
#endif
}

}  // namespace NM_TIER
}  // namespace nm
