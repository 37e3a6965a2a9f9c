// The vector kernels of linear, written once against Vec; linear_avx2.cc and linear_avx512.cc include this. The order
// of every sum is that of image.h, in `direct` and `blocked` alike.
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
    return line;
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
    return line;
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
    return line;
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
    line = line.template shifted<2 * kBits>();
    return w;
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

/** Rows of the largest register tile, two strips wide: 8 x 2 of 32 registers, 6 x 2 of 16. */
constexpr int kTileRows = Vec::N == 16 ? 8 : 6;

// ---------- decode: kRows rows of x, kPanels panels at once, each weight read once ----------

/** How far ahead of the loads a panel is prefetched: the time of a memory access at the speed of one core. */
constexpr int64_t kAhead = 2048;

/** Rows of the largest tile; codes need registers of their own. */
template <class W>
constexpr int kDirectRows = Vec::N == 16 ? 8 : W::kInteger ? 4 : 6;

/** sum[r][s] += x[r] * (the next column of line s). */
template <class W, bool kOdd, int kRows, int kWide>
NM_INLINE inline void add_column(Vec (&sum)[kRows][kWide], typename W::Line (&line)[kWide],
                                 const typename W::Zero (&zero)[kWide], const float* x, int64_t stride) {
  Vec w[kWide];
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) w[s] = W::template take<kOdd>(line[s], zero[s]);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++) {
    const Vec broadcast = Vec::all(x[r * stride]);
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) sum[r][s] = Vec::fma(broadcast, w[s], sum[r][s]);
  }
}

/** sum[r][s] += x[r] * (all columns of line s). */
template <class W, int kRows, int kWide>
NM_INLINE inline void add_line(Vec (&sum)[kRows][kWide], typename W::Line (&line)[kWide],
                               const typename W::Zero (&zero)[kWide], const float* x, int64_t stride) {
  const auto add_pair = [&](int j) NM_INLINE {
    add_column<W, false, kRows, kWide>(sum, line, zero, x + j, stride);
    if constexpr (W::kInteger) add_column<W, true, kRows, kWide>(sum, line, zero, x + j + 1, stride);
  };
  if constexpr (Vec::N == 16 || kRows == 1) {
#pragma GCC unroll 4
    for (int j = 0; j < W::kColumns; j += 2) add_pair(j);
  } else {  // unrolled further, it would not fit 16 registers
#pragma GCC unroll 2
    for (int j = 0; j < W::kColumns; j += 2) add_pair(j);
  }
}

template <class W, int kRows, int kPanels>
void direct_tile(const LinearJob& job, int64_t row, int64_t panel) {
  constexpr int kWide = kPanels * kStrips;
  const Image& image = job.image;
  const int64_t stride = job.x_stride;
  const float* x = job.x + row * stride;
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
    for (int64_t c = block.begin; c < block.end; c += W::kColumns, at += W::kLine) {
      typename W::Line line[kWide];
#pragma GCC unroll 8
      for (int s = 0; s < kWide; s++) {
        const uint8_t* from = weights[s / kStrips] + at;
        if (s % kStrips == 0) __builtin_prefetch(from + ahead);
        line[s] = W::load(from + s % kStrips * (W::kLine / kStrips));
      }
      add_line<W, kRows, kWide>(sum, line, zero, x + c, stride);
    }
    for (int s = 0; s < kWide; s++) {
      const Vec scale = scale_of<W>(image, panel + s / kStrips, block.group, s % kStrips);
      for (int r = 0; r < kRows; r++) total[r][s] = add_block<W>(scale, sum[r][s], total[r][s]);
    }
  }
  for (int r = 0; r < kRows; r++)
    for (int s = 0; s < kWide; s++) finish(job, row + r, panel * kPanel + s * Vec::N, total[r][s]);
}

/** Panels at once: as many as leave their sums in registers, and enough to hide the latency of an FMA. */
template <class W, int kRows>
constexpr int panels_at_once() {
  if (Vec::N == 16) return kRows <= 4 ? 4 : 2;
  return kRows == 1 ? (W::kInteger ? 2 : 4) : kRows == 2 ? 2 : 1;
}

template <class W, int kRows>
void direct_rows(const LinearJob& job, int64_t row, int64_t begin, int64_t end) {
  constexpr int kPanels = panels_at_once<W, kRows>();
  int64_t panel = begin;
  for (; panel + kPanels <= end; panel += kPanels) direct_tile<W, kRows, kPanels>(job, row, panel);
  for (; panel < end; panel++) direct_tile<W, kRows, 1>(job, row, panel);
}

template <class W>
void direct_group(const LinearJob& job, int64_t row, int64_t rows, int64_t begin, int64_t end) {
  switch (rows) {
    case 1: return direct_rows<W, 1>(job, row, begin, end);
    case 2: return direct_rows<W, 2>(job, row, begin, end);
    case 3: return direct_rows<W, 3>(job, row, begin, end);
    case 4: return direct_rows<W, 4>(job, row, begin, end);
    default: break;
  }
  if constexpr (kDirectRows<W> > 4) {
    switch (rows) {
      case 5: return direct_rows<W, 5>(job, row, begin, end);
      case 6: return direct_rows<W, 6>(job, row, begin, end);
      default: break;
    }
  }
  if constexpr (kDirectRows<W> > 6) {
    if (rows == 7)
      direct_rows<W, 7>(job, row, begin, end);
    else
      direct_rows<W, 8>(job, row, begin, end);
  }
}

/** All rows of a few panels, then the next panels: from the second tile of rows on their weights are in the cache. */
template <class W>
void direct(const LinearJob& job, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; panel += 4)
    for (int64_t row = 0; row < job.m; row += kDirectRows<W>)
      direct_group<W>(job, row, least(job.m - row, kDirectRows<W>), panel, least(panel + 4, end));
}

// ---------- prefill: panels as float32 in the first cache, used for all rows ----------

template <int kRows>
void arrange_tile(const Image& image, const Block& block, const float* x, int64_t stride, float* to) {
  for (int64_t c = block.begin; c < block.end; c++, to += kRows) {
    const int64_t k = image.map == nullptr ? c : image.map[c];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) to[r] = k < 0 ? 0.0f : x[r * stride + k];
  }
}

void arrange(const LinearJob& job, int64_t b, int64_t tile, float* arranged) {
  const Block& block = job.image.block[b];
  const int64_t row = tile * kTileRows, width = block.end - block.begin, left = job.m - row;
  const float* x = job.x + row * job.x_stride;
  float* to = arranged + job.m * block.begin + row * width;
  switch (least(left, kTileRows)) {
    case 1: return arrange_tile<1>(job.image, block, x, job.x_stride, to);
    case 2: return arrange_tile<2>(job.image, block, x, job.x_stride, to);
    case 3: return arrange_tile<3>(job.image, block, x, job.x_stride, to);
    case 4: return arrange_tile<4>(job.image, block, x, job.x_stride, to);
    case 5: return arrange_tile<5>(job.image, block, x, job.x_stride, to);
    case 6: return arrange_tile<6>(job.image, block, x, job.x_stride, to);
    case 7: return arrange_tile<7>(job.image, block, x, job.x_stride, to);
    default: return arrange_tile<8>(job.image, block, x, job.x_stride, to);
  }
}

/** Panels that two strips come from. */
constexpr int kTilePanels = 2 / kStrips;

/** A block of `width` columns of some rows and two strips. */
struct Tile {
  const float* x;   // [tiles][width][rows of the tile]
  const float* w0;  // [width][16]
  const float* w1;
  int64_t width;
  float* total;  // [rows][2][Vec::N]
  Vec scale0, scale1;
};

template <class W, int kRows>
void multiply_tile(const Tile& t) {
  Vec sum[kRows][2];
  for (int r = 0; r < kRows; r++) sum[r][0] = sum[r][1] = Vec::zero();
  const float *x = t.x, *w0 = t.w0, *w1 = t.w1;
  for (int64_t c = 0; c < t.width; c++, x += kRows, w0 += kPanel, w1 += kPanel) {
    const Vec a = Vec::load(w0), b = Vec::load(w1);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++) {
      const Vec broadcast = Vec::all(x[r]);
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
    for (int s = 0; s < kStrips; s++) {
      typename W::Line taken = W::load(line + s * (W::kLine / kStrips));
#pragma GCC unroll 4
      for (int j = 0; j < W::kColumns; j += 2) {
        W::template take<false>(taken, zero[s]).store(to + j * kPanel + s * Vec::N);
        if constexpr (W::kInteger) W::template take<true>(taken, zero[s]).store(to + (j + 1) * kPanel + s * Vec::N);
      }
    }
  return buffer;
}

template <class W>
void blocked(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
             float* work) {
  const Image& image = job.image;
  const int64_t rows = row_end - row_begin, panels = panel_end - panel_begin;
  float* const totals = work + 2 * kMaxBlock * kPanel;  // [panels / kTilePanels][rows][2][Vec::N]
  std::memset(totals, 0, static_cast<size_t>((panels + 1) * rows * kPanel) * sizeof(float));
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block& block = image.block[b];
    Tile tile = {};
    tile.width = block.end - block.begin;
    tile.x = job.x + job.m * block.begin + row_begin * tile.width;
    for (int64_t p = 0; p < panels; p += kTilePanels) {
      // The second strip is that of the next panel or the other half of this one. Behind the last panel it is the first
      // strip again, and is not stored.
      const int64_t panel = panel_begin + p, other = p + kTilePanels <= panels ? panel + kTilePanels - 1 : panel;
      tile.w0 = expand_panel<W>(image, block, panel, work);
      tile.w1 = other == panel ? tile.w0 : expand_panel<W>(image, block, other, work + kMaxBlock * kPanel);
      tile.w1 += (kStrips - 1) * Vec::N;
      tile.scale0 = scale_of<W>(image, panel, block.group, 0);
      tile.scale1 = scale_of<W>(image, other, block.group, kStrips - 1);
      tile.total = totals + p * rows * kPanel;
      multiply<W>(tile, rows);
    }
  }
  for (int64_t p = 0; p < panels; p++)
    for (int64_t r = 0; r < rows; r++)
      for (int s = 0; s < kStrips; s++) {
        const int64_t tile = p / kTilePanels * kTilePanels, strip = p % kTilePanels + s;
        finish(job, row_begin + r, (panel_begin + p) * kPanel + s * Vec::N,
               Vec::load(totals + tile * rows * kPanel + (r * 2 + strip) * Vec::N));
      }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
