// Codes times x of 16 bits: two products of a lane in one multiply-add of pairs, 16 an instruction (AVX2), 32 (AVX-512),
// where float32 has 8 and 16. |sum| of a block <= 256 * 255 * 32767 < 2^31.
//
// i4: a lane of a line holds eight codes of a row; the codes j and j + 4 are the low nibbles of its two halves after a
// shift by 4 j. i8: the codes 0 and 2 of a lane are the low bytes of its halves, 1 and 3 the high ones.
#pragma once

#include "linear/linear_integer_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

template <int kBits, int kWide>
NM_INLINE inline void shift(Lanes (&line)[kWide]) {
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) line[s].v = line[s].template shifted<kBits>().v;
}

template <int kWide>
NM_INLINE inline void masked(const Lanes (&line)[kWide], int32_t mask, Lanes (&codes)[kWide]) {
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) codes[s].v = (line[s] & Lanes::all(mask)).v;
}

/** What both have in common; x of 8 bits can be stored so, too (linear_int8_simd.h). */
struct Pairs {
  static constexpr bool kSpans = false;
  static constexpr int kFold = 1;
  using X = int16_t;
  NM_INLINE static Lanes dot(Lanes sum, Lanes codes, Lanes x) { return Lanes::dot(sum, codes, x); }
};

struct I4Int16 : Pairs {
  using Codes = I4;

  /** In the order 0 4 1 5 2 6 3 7, in which the codes meet them. */
  NM_INLINE static void store(Eight q, int16_t* to) {
    static constexpr uint8_t kOrder[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
    q.to_i16(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int16_t* to) {
    return narrow_block<I4Int16>(x, count, inverse, to);
  }

  /**
   * Odd codes can stay where they are, 16 times their value, when they have sums of their own: one shift a line instead of
   * three. That pays while there are registers for the sums.
   */
  template <int kRows, int kWide>
  struct Sums {
    static constexpr bool kApart = kRows <= 2;
    Lanes sum[kRows][kWide], sum16[kRows][kWide];
    NM_INLINE void clear() {
      NM_TIER::clear(sum);
      if constexpr (kApart) NM_TIER::clear(sum16);
    }
    NM_INLINE void add(Lanes (&line)[kWide], const int16_t* x, int64_t stride) {
      Lanes codes[kWide];
      if constexpr (kApart) {
#pragma GCC unroll 2
        for (int j = 0; j < 4; j += 2) {
          masked(line, 0x000f000f, codes);
          add_products<I4Int16>(sum, codes, x + 2 * j, stride);
          masked(line, 0x00f000f0, codes);
          add_products<I4Int16>(sum16, codes, x + 2 * j + 2, stride);
          if (j == 0) shift<8>(line);
        }
      } else {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
          masked(line, 0x000f000f, codes);
          add_products<I4Int16>(sum, codes, x + 2 * j, stride);
          if (j < 3) shift<4>(line);
        }
      }
    }
    NM_INLINE void fold() {}
    NM_INLINE Lanes at(int r, int s) const {
      if constexpr (kApart) return sum[r][s] + sum16[r][s].sixteenth();
      return sum[r][s];
    }
  };
};

struct I8Int16 : Pairs {
  using Codes = I8;

  /** In the order 0 2 1 3 of each four. */
  NM_INLINE static void store(Eight q, int16_t* to) {
    static constexpr uint8_t kOrder[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    q.to_i16(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int16_t* to) {
    return narrow_block<I8Int16>(x, count, inverse, to);
  }

  template <int kRows, int kWide>
  struct Sums {
    Lanes sum[kRows][kWide];
    NM_INLINE void clear() { NM_TIER::clear(sum); }
    NM_INLINE void add(Lanes (&line)[kWide], const int16_t* x, int64_t stride) {
      Lanes codes[kWide];
      masked(line, 0x00ff00ff, codes);
      add_products<I8Int16>(sum, codes, x, stride);
      shift<8>(line);
      masked(line, 0x00ff00ff, codes);
      add_products<I8Int16>(sum, codes, x + 2, stride);
    }
    NM_INLINE void fold() {}
    NM_INLINE Lanes at(int r, int s) const { return sum[r][s]; }
  };
};

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
