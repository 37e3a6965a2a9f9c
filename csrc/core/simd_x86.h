// What AVX2 and AVX-512 share. See simd.h.
#pragma once

#include <cstdint>

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define NM_DOT_BYTES 1
#define NM_DOT_ALL_BYTES 1
#endif

namespace nm {
namespace NM_TIER {

/** Eight int32, and what fits of them into narrower integers, in an order of bytes. */
struct Eight {
  __m256i v;

  static Eight zero() { return {_mm256_setzero_si256()}; }
  /** round(x * factor), halves to even */
  static Eight rounded(const float* x, float factor) {
    return {_mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(factor)))};
  }
  friend Eight operator+(Eight a, Eight b) { return {_mm256_add_epi32(a.v, b.v)}; }
  int32_t total() const {
    int32_t parts[8], sum = 0;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(parts), v);
    for (const int32_t part : parts) sum += part;
    return sum;
  }
  void to_i16(int16_t* p, const uint8_t (&order)[16]) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi8(words(), bytes));
  }
  void to_i8(int8_t* p, const uint8_t (&order)[8]) const {
    const __m128i packed = _mm_packs_epi16(words(), words());
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(order));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi8(packed, bytes));
  }

  /** q = 256 high + low, low >= 0: eight high digits and then eight low ones, in an order of bytes. */
  void to_digits(uint8_t* p, const uint8_t (&order)[16]) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(order));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_shuffle_epi8(words(), bytes));
  }

 private:
  __m128i words() const { return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)); }
};

}  // namespace NM_TIER
}  // namespace nm
