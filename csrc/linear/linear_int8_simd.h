// Codes times x of 8 bits, which also hold x of 4. Where the tier has dot products of bytes (simd.h: NM_DOT_BYTES for codes
// of 4 bits, NM_DOT_ALL_BYTES for those of 8 too) four products a lane and instruction. Without them codes of 4 bits meet x
// in pairs of int16, |pair| <= 2 * 15 * 127, of which eight fit before they are added up in int32. Products of 8-bit codes
// would not fit there: they take the kernel of 16 bits, whose x holds 8 as well.
#pragma once

#include "linear/linear_int16_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

struct I4Int8 {
  static constexpr bool kSpans = true;
  using X = int8_t;
  using Codes = I4;

  /** In the order 0 2 4 6 1 3 5 7: the low nibbles of a lane, then the high ones. */
  NM_INLINE static void store(Eight q, int8_t* to) {
    static constexpr uint8_t kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    q.to_i8(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    return narrow_block<I4Int8>(x, count, inverse, to);
  }

#if defined(NM_DOT_BYTES)
  static constexpr int kFold = 1;
  NM_INLINE static Lanes dot(Lanes sum, Lanes codes, Lanes x) { return Lanes::dot_bytes(sum, codes, x); }
#else
  static constexpr int kFold = 4;
  NM_INLINE static Lanes dot(Lanes sum, Lanes codes, Lanes x) { return Lanes::add_byte_pairs(sum, codes, x); }
#endif

  template <int kRows, int kWide>
  struct Sums {
    Lanes sum[kRows][kWide];
#if defined(NM_DOT_BYTES)
    NM_INLINE void clear() { NM_TIER::clear(sum); }
    NM_INLINE void fold() {}
    NM_INLINE Lanes (&near())[kRows][kWide] { return sum; }
#else
    Lanes pairs[kRows][kWide];  // of int16
    NM_INLINE void clear() {
      NM_TIER::clear(sum);
      NM_TIER::clear(pairs);
    }
    NM_INLINE void fold() {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
        for (int s = 0; s < kWide; s++) sum[r][s].v = Lanes::dot(sum[r][s], pairs[r][s], Lanes::all(0x00010001)).v;
      NM_TIER::clear(pairs);
    }
    NM_INLINE Lanes (&near())[kRows][kWide] { return pairs; }
#endif
    NM_INLINE void add(Lanes (&line)[kWide], const int8_t* x, int64_t stride) {
      Lanes codes[kWide];
      masked(line, 0x0f0f0f0f, codes);
      add_products<I4Int8>(near(), codes, x, stride);
      shift<4>(line);
      masked(line, 0x0f0f0f0f, codes);
      add_products<I4Int8>(near(), codes, x + 4, stride);
    }
    NM_INLINE Lanes at(int r, int s) const { return sum[r][s]; }
  };
};

#if defined(NM_DOT_ALL_BYTES)

struct I8Int8 {
  static constexpr bool kSpans = true;
  static constexpr int kFold = 1;
  using X = int8_t;
  using Codes = I8;

  NM_INLINE static void store(Eight q, int8_t* to) {
    static constexpr uint8_t kOrder[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    q.to_i8(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    return narrow_block<I8Int8>(x, count, inverse, to);
  }
  NM_INLINE static Lanes dot(Lanes sum, Lanes codes, Lanes x) { return Lanes::dot_bytes(sum, codes, x); }

  template <int kRows, int kWide>
  struct Sums {
    Lanes sum[kRows][kWide];
    NM_INLINE void clear() { NM_TIER::clear(sum); }
    NM_INLINE void add(Lanes (&line)[kWide], const int8_t* x, int64_t stride) {
      add_products<I8Int8>(sum, line, x, stride);
    }
    NM_INLINE void fold() {}
    NM_INLINE Lanes at(int r, int s) const { return sum[r][s]; }
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
