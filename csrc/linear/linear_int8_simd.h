// Codes times x of 8 bits, which also hold x of 4. With VNNI four products a lane and instruction; without it codes of 4
// bits meet x in pairs of int16, |pair| <= 2 * 15 * 127, of which eight fit before they are added up in int32. Products of
// 8-bit codes would not fit there: they take the kernel of 16 bits, whose x holds 8 as well.
#pragma once

#include "linear/linear_int16_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define NM_VNNI 1
#endif

/** Eight int32 that fit them, as int8. */
inline __m128i packed8(__m256i q) {
  const __m128i packed = packed16(q);
  return _mm_packs_epi16(packed, packed);
}

struct I4Int8 {
  static constexpr bool kSpans = true;
  using X = int8_t;
  using Codes = I4;

  /** In the order 0 2 4 6 1 3 5 7: the low nibbles of a lane, then the high ones. */
  NM_INLINE static void store(__m256i q, int8_t* to) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(packed8(q), order));
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    return narrow_block<I4Int8>(x, count, inverse, to);
  }

#if defined(NM_VNNI)
  static constexpr int kFold = 1;
  NM_INLINE static Words dot(Words sum, Words codes, Words x) { return Words::dot_bytes(sum, codes, x); }
#else
  static constexpr int kFold = 4;
  NM_INLINE static Words dot(Words sum, Words codes, Words x) { return Words::add_byte_pairs(sum, codes, x); }
#endif

  template <int kRows, int kWide>
  struct Sums {
    Words sum[kRows][kWide];
#if defined(NM_VNNI)
    NM_INLINE void clear() { NM_TIER::clear(sum); }
    NM_INLINE void fold() {}
    NM_INLINE Words (&near())[kRows][kWide] { return sum; }
#else
    Words pairs[kRows][kWide];  // of int16
    NM_INLINE void clear() {
      NM_TIER::clear(sum);
      NM_TIER::clear(pairs);
    }
    NM_INLINE void fold() {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
        for (int s = 0; s < kWide; s++) sum[r][s].v = Words::dot(sum[r][s], pairs[r][s], Words::all(0x00010001)).v;
      NM_TIER::clear(pairs);
    }
    NM_INLINE Words (&near())[kRows][kWide] { return pairs; }
#endif
    NM_INLINE void add(Words (&line)[kWide], const int8_t* x, int64_t stride) {
      Words codes[kWide];
      masked(line, 0x0f0f0f0f, codes);
      add_products<I4Int8>(near(), codes, x, stride);
      shift<4>(line);
      masked(line, 0x0f0f0f0f, codes);
      add_products<I4Int8>(near(), codes, x + 4, stride);
    }
    NM_INLINE Words at(int r, int s) const { return sum[r][s]; }
  };
};

#if defined(NM_VNNI)

struct I8Int8 {
  static constexpr bool kSpans = true;
  static constexpr int kFold = 1;
  using X = int8_t;
  using Codes = I8;

  NM_INLINE static void store(__m256i q, int8_t* to) { _mm_storel_epi64(reinterpret_cast<__m128i*>(to), packed8(q)); }
  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    return narrow_block<I8Int8>(x, count, inverse, to);
  }
  NM_INLINE static Words dot(Words sum, Words codes, Words x) { return Words::dot_bytes(sum, codes, x); }

  template <int kRows, int kWide>
  struct Sums {
    Words sum[kRows][kWide];
    NM_INLINE void clear() { NM_TIER::clear(sum); }
    NM_INLINE void add(Words (&line)[kWide], const int8_t* x, int64_t stride) {
      add_products<I8Int8>(sum, line, x, stride);
    }
    NM_INLINE void fold() {}
    NM_INLINE Words at(int r, int s) const { return sum[r][s]; }
  };
};

#else

struct I8Int8 : I8Int16 {
  static constexpr bool kSpans = true;
};

#endif

/** The table of a tier. */
template <class W>
constexpr IntegerKernel integer_kernel(const char* name) {
  return {name, sizeof(typename W::X), narrow<W>, product<W>};
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
