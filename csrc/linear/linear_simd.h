// The vector kernels of linear, written once against Vec; linear_avx2.cc and linear_avx512.cc include this. The order
// of every sum is that of image.h, in `direct` and `blocked` alike.
#pragma once

#include "core/simd.h"
#include "linear/linear.h"

namespace nm {
namespace NM_TIER {
namespace {

#define NM_INLINE __attribute__((always_inline))

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
  template <class F>
  NM_INLINE static void expand(const uint8_t* p, const Zero&, F&& f) {
    f(0, Vec::load(reinterpret_cast<const float*>(p)));
  }
};

struct F16 {
  static constexpr bool kInteger = false;
  static constexpr int kColumns = 1, kLine = 32;
  struct Zero {};
  template <class F>
  NM_INLINE static void expand(const uint8_t* p, const Zero&, F&& f) {
    f(0, Vec::from_f16(reinterpret_cast<const uint16_t*>(p)));
  }
};

struct Bf16 {
  static constexpr bool kInteger = false;
  static constexpr int kColumns = 1, kLine = 32;
  struct Zero {};
  template <class F>
  NM_INLINE static void expand(const uint8_t* p, const Zero&, F&& f) {
    f(0, Vec::from_bf16(reinterpret_cast<const uint16_t*>(p)));
  }
};

/** One 32-bit lane a row. field<mask, high>: the masked bits below the exponent `high`: high + code * 2^shift exactly. */
#if defined(__AVX512F__)
struct Lanes {
  __m512i v;
  static Lanes load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  template <int kBits>
  Lanes shifted() const {
    return {_mm512_srli_epi32(v, kBits)};
  }
  template <int kMask, int kHigh>
  Vec field() const {
    return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(v, _mm512_set1_epi32(kMask), _mm512_set1_epi32(kHigh), 0xEA))};
  }
};
#else
struct Lanes {
  __m256i v;
  static Lanes load(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  template <int kBits>
  Lanes shifted() const {
    return {_mm256_srli_epi32(v, kBits)};
  }
  template <int kMask, int kHigh>
  Vec field() const {
    return {_mm256_castsi256_ps(
        _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(kMask)), _mm256_set1_epi32(kHigh)))};
  }
};
#endif

/**
 * Codes become floats by being put into the mantissa of a power of two: 2^23 | code is the float 2^23 + code, and
 * 2^(23-b) | code << b is 2^(23-b) + code. Subtracting (power + zero) is exact. Two fields are read at each shift.
 */
template <int kBits>
struct Integer {
  static constexpr bool kInteger = true;
  static constexpr int kColumns = 32 / kBits, kLine = 64;
  static constexpr int kMask = (1 << kBits) - 1;
  static constexpr int kEven = 0x4b000000, kOdd = 0x4b000000 - (kBits << 23);  // 2^23, 2^(23 - kBits)
  struct Zero {
    Vec even, odd;
  };
  static Zero zero(const uint8_t* p) {
    const Vec z = Vec::from_u8(p);
    return {Vec::all(0x1p23f) + z, Vec::all(0x1p23f / (1 << kBits)) + z};
  }
  template <class F>
  NM_INLINE static void expand(const uint8_t* p, const Zero& zero, F&& f) {
    Lanes v = Lanes::load(p);
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; j += 2) {
      f(j, v.field<kMask, kEven>() - zero.even);
      f(j + 1, v.field<(kMask << kBits), kOdd>() - zero.odd);
      v = v.shifted<2 * kBits>();
    }
  }
};
using I4 = Integer<4>;
using I8 = Integer<8>;

// ---------- what surrounds a block ----------

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

// ---------- decode: kRows rows of x, kPanels panels at once, each weight read once ----------

/** How far ahead of the loads a panel is prefetched: the time of a memory access at the speed of one core. */
constexpr int64_t kAhead = 2048;

template <class W, int kRows, int kPanels>
void direct_tile(const LinearJob& job, int64_t panel) {
  constexpr int kWide = kPanels * kStrips;
  const Image& image = job.image;
  const uint8_t* weights[kPanels];
  for (int p = 0; p < kPanels; p++) weights[p] = image.weights + (panel + p) * image.panel_bytes;
  Vec total[kRows][kWide];
  for (int r = 0; r < kRows; r++)
    for (int s = 0; s < kWide; s++) total[r][s] = Vec::zero();
  int64_t at = 0;  // bytes from the start of a panel
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block block = image.block[b];
    typename W::Zero zero[kWide];
    Vec sum[kRows][kWide];
    for (int s = 0; s < kWide; s++) {
      zero[s] = zero_of<W>(image, panel + s / kStrips, block.group, s % kStrips);
      for (int r = 0; r < kRows; r++) sum[r][s] = Vec::zero();
    }
    // Past the end of these panels the next ones begin, kPanels further on.
    const int64_t ahead = at + kAhead < image.panel_bytes ? kAhead : kAhead + (kPanels - 1) * image.panel_bytes;
    for (int64_t c = block.begin; c < block.end; c += W::kColumns, at += W::kLine)
#pragma GCC unroll 8
      for (int s = 0; s < kWide; s++) {
        const uint8_t* line = weights[s / kStrips] + at;
        if (s % kStrips == 0) __builtin_prefetch(line + ahead);
        W::expand(line + s % kStrips * (W::kLine / kStrips), zero[s], [&](int j, Vec w) NM_INLINE {
#pragma GCC unroll 4
          for (int r = 0; r < kRows; r++)
            sum[r][s] = Vec::fma(Vec::all(job.x[r * job.x_stride + c + j]), w, sum[r][s]);
        });
      }
    for (int s = 0; s < kWide; s++) {
      const Vec scale = scale_of<W>(image, panel + s / kStrips, block.group, s % kStrips);
      for (int r = 0; r < kRows; r++) total[r][s] = add_block<W>(scale, sum[r][s], total[r][s]);
    }
  }
  for (int r = 0; r < kRows; r++)
    for (int s = 0; s < kWide; s++) finish(job, r, panel * kPanel + s * Vec::N, total[r][s]);
}

template <class W, int kRows>
void direct_rows(const LinearJob& job, int64_t begin, int64_t end) {
  int64_t panel = begin;
  for (; panel + 4 <= end; panel += 4) direct_tile<W, kRows, 4>(job, panel);
  if (panel + 2 <= end) {
    direct_tile<W, kRows, 2>(job, panel);
    panel += 2;
  }
  if (panel < end) direct_tile<W, kRows, 1>(job, panel);
}

template <class W>
void direct(const LinearJob& job, int64_t begin, int64_t end) {
  switch (job.m) {
    case 1: return direct_rows<W, 1>(job, begin, end);
    case 2: return direct_rows<W, 2>(job, begin, end);
    case 3: return direct_rows<W, 3>(job, begin, end);
    default: return direct_rows<W, 4>(job, begin, end);
  }
}

// ---------- prefill: a block of panels as float32 in the cache, used for all rows ----------

/** Rows of the register tile; it is two strips wide. 8 x 2 of 32 registers, 6 x 2 of 16. */
constexpr int kTileRows = Vec::N == 16 ? 8 : 6;

/** A block of `width` columns: x [rows, width], two strips w0, w1 with `step` floats between columns. */
struct Tile {
  const float* x;
  int64_t width;
  const float* w0;
  const float* w1;
  float* total;  // [rows][2][Vec::N]
  Vec scale0, scale1;
};

template <class W, int kRows>
void multiply_tile(const Tile& t) {
  Vec sum[kRows][2];
  for (int r = 0; r < kRows; r++) sum[r][0] = sum[r][1] = Vec::zero();
  const float *x = t.x, *w0 = t.w0, *w1 = t.w1;
  const int64_t width = t.width;
  for (int64_t c = 0; c < width; c++) {
    const Vec a = Vec::load(w0 + c * kPanel), b = Vec::load(w1 + c * kPanel);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      const Vec broadcast = Vec::all(x[r * width + c]);
      sum[r][0] = Vec::fma(broadcast, a, sum[r][0]);
      sum[r][1] = Vec::fma(broadcast, b, sum[r][1]);
    }
  }
  for (int r = 0; r < kRows; r++) {
    float* total = t.total + r * 2 * Vec::N;
    add_block<W>(t.scale0, sum[r][0], Vec::load(total)).store(total);
    add_block<W>(t.scale1, sum[r][1], Vec::load(total + Vec::N)).store(total + Vec::N);
  }
}

template <class W>
void multiply(Tile t, int64_t rows) {
  for (; rows >= kTileRows; rows -= kTileRows) {
    multiply_tile<W, kTileRows>(t);
    t.x += kTileRows * t.width;
    t.total += kTileRows * 2 * Vec::N;
  }
  switch (rows) {
    case 1: return multiply_tile<W, 1>(t);
    case 2: return multiply_tile<W, 2>(t);
    case 3: return multiply_tile<W, 3>(t);
    case 4: return multiply_tile<W, 4>(t);
    case 5: return multiply_tile<W, 5>(t);
    case 6: return multiply_tile<W, 6>(t);
    case 7: return multiply_tile<W, 7>(t);
    default: return;
  }
}

/** The block's columns of a panel as float32 [width][16]: the image itself where it is float32 already. */
template <class W>
const float* expand_panel(const Image& image, const Block& block, int64_t panel, float* buffer) {
  const uint8_t* line = image.weights + panel * image.panel_bytes + block.begin / W::kColumns * W::kLine;
  if constexpr (W::kLine == 64 && !W::kInteger) return reinterpret_cast<const float*>(line);
  typename W::Zero zero[kStrips];
  for (int s = 0; s < kStrips; s++) zero[s] = zero_of<W>(image, panel, block.group, s);
  float* to = buffer;
  for (int64_t c = block.begin; c < block.end; c += W::kColumns, line += W::kLine, to += W::kColumns * kPanel)
    for (int s = 0; s < kStrips; s++)
      W::expand(line + s * (W::kLine / kStrips), zero[s],
                [&](int j, Vec w) NM_INLINE { w.store(to + j * kPanel + s * Vec::N); });
  return buffer;
}

template <class W>
void blocked(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
             float* work) {
  const Image& image = job.image;
  const int64_t rows = row_end - row_begin, strips = (panel_end - panel_begin) * kStrips;
  float* const totals = work + kBlockedPanels * kMaxBlock * kPanel;  // [pair of strips][rows][2][Vec::N]
  std::memset(totals, 0, static_cast<size_t>((strips + 1) / 2 * rows * 2 * Vec::N) * sizeof(float));
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block& block = image.block[b];
    const int64_t width = block.end - block.begin;
    const float* panels[kBlockedPanels];
    for (int64_t p = panel_begin; p < panel_end; p++)
      panels[p - panel_begin] = expand_panel<W>(image, block, p, work + (p - panel_begin) * kMaxBlock * kPanel);
    for (int64_t s = 0; s < strips; s += 2) {
      const int64_t last = s + 1 < strips ? s + 1 : s;  // an odd strip is multiplied twice, and stored once
      const int64_t p0 = s / kStrips, p1 = last / kStrips;
      Tile tile = {};
      tile.x = job.x + job.m * block.begin + row_begin * width;
      tile.width = width;
      tile.w0 = panels[p0] + s % kStrips * Vec::N;
      tile.w1 = panels[p1] + last % kStrips * Vec::N;
      tile.total = totals + s * rows * Vec::N;
      tile.scale0 = scale_of<W>(image, panel_begin + p0, block.group, static_cast<int>(s % kStrips));
      tile.scale1 = scale_of<W>(image, panel_begin + p1, block.group, static_cast<int>(last % kStrips));
      multiply<W>(tile, rows);
    }
  }
  for (int64_t s = 0; s < strips; s++)
    for (int64_t r = 0; r < rows; r++)
      finish(job, row_begin + r, panel_begin * kPanel + s * Vec::N,
             Vec::load(totals + (s / 2 * rows + r) * 2 * Vec::N + s % 2 * Vec::N));
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
