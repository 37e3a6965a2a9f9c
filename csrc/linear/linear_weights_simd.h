// A packed weight as vectors of float32, one layout a struct; what surrounds a block of columns; the end of an output.
// Written once against Vec, as are linear_direct_simd.h and linear_blocked_simd.h; linear_avx2.cc and linear_avx512.cc
// include them. The order of every sum is that of image.h.
#pragma once

#include "core/simd.h"
#include "linear/linear.h"

namespace nm {
namespace NM_TIER {
namespace {

#define NM_INLINE __attribute__((always_inline))

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/** A strip is one vector of rows: a panel is one strip (AVX-512) or two (AVX2). */
constexpr int kStrips = static_cast<int>(kPanel) / Vec::N;

// ---------- a strip's weights as float32, one layout a struct ----------
//
// kColumns, kLine: columns and bytes (of all 16 rows) of a line. expand(p, zero, f) calls f(j, w) for each column j of
// the line at p, in order, with w = the weight, or code minus zero point.

struct F32 {
  static constexpr bool kInteger = false;
  static constexpr int kColumns = 1, kLine = 64;
  struct Zero {};
  using Line = Vec;
  static Line load(const uint8_t* p) { return Vec::load(reinterpret_cast<const float*>(p)); }
  template <bool>
  static Vec take(Line& line, const Zero&) {
    return {line.v};
  }
};

struct F16 {
  static constexpr bool kInteger = false;
  static constexpr int kColumns = 1, kLine = 32;
  struct Zero {};
  using Line = Vec;
  static Line load(const uint8_t* p) { return Vec::from_f16(reinterpret_cast<const uint16_t*>(p)); }
  template <bool>
  static Vec take(Line& line, const Zero&) {
    return {line.v};
  }
};

struct Bf16 {
  static constexpr bool kInteger = false;
  static constexpr int kColumns = 1, kLine = 32;
  struct Zero {};
  using Line = Vec;
  static Line load(const uint8_t* p) { return Vec::from_bf16(reinterpret_cast<const uint16_t*>(p)); }
  template <bool>
  static Vec take(Line& line, const Zero&) {
    return {line.v};
  }
};

/**
 * Codes become floats by being put into the mantissa of a power of two: 2^23 | code is the float 2^23 + code, and
 * 2^(23-b) | code << b is 2^(23-b) + code. Subtracting (power + zero) is exact. Two fields are read at each shift.
 */
template <int kBits>
struct Integer {
  static constexpr bool kInteger = true;
  static constexpr int kColumns = 32 / kBits, kLine = 64;
  static constexpr int kMask = (1 << kBits) - 1;
  static constexpr int kEvenHigh = 0x4b000000, kOddHigh = 0x4b000000 - (kBits << 23);  // 2^23, 2^(23 - kBits)
  struct Zero {
    Vec even, odd;
  };
  static Zero zero(const uint8_t* p) {
    const Vec z = Vec::from_u8(p);
    return {Vec::all(0x1p23f) + z, Vec::all(0x1p23f / (1 << kBits)) + z};
  }
  using Line = Lanes;
  static Line load(const uint8_t* p) { return Lanes::load(p); }
  template <bool kOdd>
  static Vec take(Line& line, const Zero& zero) {
    if constexpr (!kOdd) return line.template field<kMask, kEvenHigh>() - zero.even;
    const Vec w = line.template field<(kMask << kBits), kOddHigh>() - zero.odd;
    line.v = line.template shifted<2 * kBits>().v;
    return w;
  }
};
using I4 = Integer<4>;
using I8 = Integer<8>;

// ---------- what surrounds a block ----------

/** How far ahead of the loads a panel is prefetched: the time of a memory access at the speed of one core. */
constexpr int64_t kAhead = 2048;

/** And its scales and zero points, in groups. */
constexpr int64_t kGroupsAhead = 4;

/** Asks for the scales and zero points of a group. */
template <class W>
NM_INLINE inline void prefetch_group(const Image& image, int64_t panel, int64_t group) {
  if constexpr (W::kInteger) {
    const int64_t at = (panel * image.groups + group) * kPanel;
    __builtin_prefetch(static_cast<const uint8_t*>(image.scales) + at * (image.scale_type == NM_F16 ? 2 : 4));
    __builtin_prefetch(image.zeros + at);
  }
}

/** Asks for those of the panels from `panel` that come kGroupsAhead later: past their end in the next ones. */
template <class W, int kPanels>
NM_INLINE inline void prefetch_next_group(const Image& image, int64_t panel, int64_t group) {
  const bool over = group + kGroupsAhead >= image.groups;
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; p++)
    prefetch_group<W>(image, panel + p + (over ? kPanels : 0), group + kGroupsAhead - (over ? image.groups : 0));
}

/** From byte `at` of a panel to what is prefetched there: past its end the same panel of the next ones. */
template <int kPanels>
NM_INLINE inline int64_t bytes_ahead(const Image& image, int64_t at) {
  return at + kAhead < image.panel_bytes ? kAhead : kAhead + (kPanels - 1) * image.panel_bytes;
}

/** Zero points of a strip in a block. */
template <class W>
NM_INLINE inline typename W::Zero zero_of(const Image& image, int64_t panel, int64_t group, int strip) {
  if constexpr (W::kInteger)
    return W::zero(image.zeros + (panel * image.groups + group) * kPanel + strip * Vec::N);
  else
    return {};
}

template <class W>
NM_INLINE inline Vec scale_of(const Image& image, int64_t panel, int64_t group, int strip) {
  if constexpr (W::kInteger) {
    const int64_t at = (panel * image.groups + group) * kPanel + strip * Vec::N;
    return image.scale_type == NM_F16 ? Vec::from_f16(static_cast<const uint16_t*>(image.scales) + at)
                                      : Vec::load(static_cast<const float*>(image.scales) + at);
  } else {
    return Vec::all(1);
  }
}

template <class W>
NM_INLINE inline Vec add_block(Vec scale, Vec sum, Vec total) {
  return W::kInteger ? Vec::fma(scale, sum, total) : total + sum;
}

/** y = total + bias + residual for one strip of one row, as far as there are outputs. */
NM_INLINE inline void finish(const LinearJob& job, int64_t row, int64_t n, Vec total) {
  float* y = job.y + row * job.y_stride + n;
  const float* residual = job.residual == nullptr ? nullptr : job.residual + row * job.residual_stride + n;
  const int64_t left = job.image.n - n;
  if (left >= Vec::N) {
    if (job.bias != nullptr) total = total + Vec::load(job.bias + n);
    if (residual != nullptr) total = total + Vec::load(residual);
    total.store(y);
  } else if (left > 0) {
    const int count = static_cast<int>(left);
    if (job.bias != nullptr) total = total + Vec::load(job.bias + n, count);
    if (residual != nullptr) total = total + Vec::load(residual, count);
    total.store(y, count);
  }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
