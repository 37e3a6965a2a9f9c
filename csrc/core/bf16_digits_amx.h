// Floats as sums of bf16, the digits of which tiles multiply exactly. For files whose name ends in _avx512_amx.cc.
#pragma once

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

/** The nearest bf16, halves to even; a NaN stays one. */
inline Vec bf16_digit(Vec x) {
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_blend_epi32(nan, rounded, quiet);
  return {_mm512_castsi512_ps(_mm512_and_si512(kept, _mm512_set1_epi32(-0x10000)))};
}

/** Two vectors of digits, lane by lane side by side. */
inline __m512i bf16_pairs(Vec even, Vec odd) {
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even.v), 16), _mm512_castps_si512(odd.v));
}

/** 16 digits. */
inline void store_bf16(Vec x, uint8_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(x.v), 16)));
}

}  // namespace NM_TIER
}  // namespace nm
