// `direct`: a few rows of x against panels that stream from memory. Codes become floats in registers, a weight is read
// once for up to 8 rows; what bounds it is memory at one row and FMA at 8.
//
// Every loop over registers carries an unroll pragma: GCC keeps an array in registers only where it unrolled early.
#pragma once

#include "linear/linear_weights_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

/** Rows of the largest tile; codes need registers of their own. */
template <class W>
constexpr int kDirectRows = Vec::N == 16  ? 8
                            : W::kInteger ? 4
                                          : 6;

/** sum[r][s] += x[r] * (the next column of line s). */
template <class W, bool kOdd, int kRows, int kWide>
NM_INLINE inline void add_column(Vec (&sum)[kRows][kWide], typename W::Line (&line)[kWide],
                                 const typename W::Zero (&zero)[kWide], const float* x, int64_t stride) {
  Vec w[kWide];
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) w[s].v = W::template take<kOdd>(line[s], zero[s]).v;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++) {
    const Vec broadcast = Vec::all(x[r * stride]);
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) sum[r][s].v = Vec::fma(broadcast, w[s], sum[r][s]).v;
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
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; p++) weights[p] = image.weights + (panel + p) * image.panel_bytes;
  Vec total[kRows][kWide];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) total[r][s] = Vec::zero();
  int64_t at = 0;  // bytes from the start of a panel
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block block = image.block[b];
    typename W::Zero zero[kWide];
    Vec sum[kRows][kWide];
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) {
      zero[s] = zero_of<W>(image, panel + s / kStrips, block.group, s % kStrips);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) sum[r][s] = Vec::zero();
    }
    // Totals wait in memory: kept in registers, they would push the weights of the inner loop out of them.
    __asm__ volatile("" : : "r"(total) : "memory");
    prefetch_next_group<W, kPanels>(image, panel, block.group);
    const int64_t ahead = bytes_ahead<kPanels>(image, at);
    for (int64_t c = block.begin; c < block.end; c += W::kColumns, at += W::kLine) {
      typename W::Line line[kWide];
#pragma GCC unroll 8
      for (int s = 0; s < kWide; s++) {
        const uint8_t* from = weights[s / kStrips] + at;
        if (s % kStrips == 0) __builtin_prefetch(from + ahead);
        line[s].v = W::load(from + s % kStrips * (W::kLine / kStrips)).v;
      }
      add_line<W, kRows, kWide>(sum, line, zero, x + c, stride);
    }
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) {
      const Vec scale = scale_of<W>(image, panel + s / kStrips, block.group, s % kStrips);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) total[r][s] = add_block<W>(scale, sum[r][s], total[r][s]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
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
    case 1:
      return direct_rows<W, 1>(job, row, begin, end);
    case 2:
      return direct_rows<W, 2>(job, row, begin, end);
    case 3:
      return direct_rows<W, 3>(job, row, begin, end);
    case 4:
      return direct_rows<W, 4>(job, row, begin, end);
    default:
      break;
  }
  if constexpr (kDirectRows < W >> 4) {
    switch (rows) {
      case 5:
        return direct_rows<W, 5>(job, row, begin, end);
      case 6:
        return direct_rows<W, 6>(job, row, begin, end);
      default:
        break;
    }
  }
  if constexpr (kDirectRows < W >> 6) {
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

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
