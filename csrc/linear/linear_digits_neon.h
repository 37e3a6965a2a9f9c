// x of 16 bits as two digits of a byte, 256 h + l with l unsigned, for the byte products of Arm: sums of codes times h and of
// codes times l, which are put together at the end of a block. 16 products an instruction instead of 4, two of them a column.
// Four columns lie together, [h0 h1 h2 h3][l0 l1 l2 l3]. |sum of one digit| <= 256 * 255 * 255 < 2^31.
#pragma once

#include "linear/linear_int8_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

/** What both have in common. Order: where the bytes of eight columns go, of which 2 c is l and 2 c + 1 is h. */
struct Digits {
  static constexpr bool kSpans = false;
  static constexpr int kFold = 1;
  using X = int16_t;

  template <int kRows, int kWide>
  struct Sums {
    Lanes high[kRows][kWide], low[kRows][kWide];
    NM_INLINE void clear() {
      NM_TIER::clear(high);
      NM_TIER::clear(low);
    }
    NM_INLINE void add_four(const Lanes (&codes)[kWide], const int16_t* x, int64_t stride) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; r++) {
        const Lanes h = broadcast(x + r * stride), l = broadcast(x + r * stride + 2);
#pragma GCC unroll 8
        for (int s = 0; s < kWide; s++) {
          high[r][s].v = Lanes::dot_bytes(high[r][s], codes[s], h).v;
          low[r][s].v = Lanes::dot_unsigned(low[r][s], codes[s], l).v;
        }
      }
    }
    NM_INLINE void fold() {}
    NM_INLINE Lanes at(int r, int s) const { return high[r][s] * Lanes::all(256) + low[r][s]; }
  };
};

struct I4Digits : Digits {
  using Codes = I4;

  /** Columns 0 2 4 6, whose codes are the low nibbles of a lane, then 1 3 5 7. */
  NM_INLINE static void store(Eight q, int16_t* to) {
    static constexpr uint8_t kOrder[16] = {1, 5, 9, 13, 0, 4, 8, 12, 3, 7, 11, 15, 2, 6, 10, 14};
    q.to_i16(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int16_t* to) {
    return narrow_block<I4Digits>(x, count, inverse, to);
  }

  template <int kRows, int kWide>
  struct Sums : Digits::Sums<kRows, kWide> {
    NM_INLINE void add(Lanes (&line)[kWide], const int16_t* x, int64_t stride) {
      Lanes codes[kWide];
      masked(line, 0x0f0f0f0f, codes);
      this->add_four(codes, x, stride);
      shift<4>(line);
      masked(line, 0x0f0f0f0f, codes);
      this->add_four(codes, x + 4, stride);
    }
  };
};

#if defined(NM_DOT_ALL_BYTES)

struct I8Digits : Digits {
  using Codes = I8;

  NM_INLINE static void store(Eight q, int16_t* to) {
    static constexpr uint8_t kOrder[16] = {1, 3, 5, 7, 0, 2, 4, 6, 9, 11, 13, 15, 8, 10, 12, 14};
    q.to_i16(to, kOrder);
  }
  static int32_t narrow(const float* x, int64_t count, float inverse, int16_t* to) {
    return narrow_block<I8Digits>(x, count, inverse, to);
  }

  template <int kRows, int kWide>
  struct Sums : Digits::Sums<kRows, kWide> {
    NM_INLINE void add(Lanes (&line)[kWide], const int16_t* x, int64_t stride) { this->add_four(line, x, stride); }
  };
};

#endif

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
