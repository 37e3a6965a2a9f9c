// Integer weights times x as integers, for every M: integer arithmetic from the codes to the end of a block (16 bits) or
// span (8 bits), so that sums are exact, whatever order, tile, batch or tier they are computed in. How x becomes integers:
// linear_narrow.h. With the zero point taken out by the sum of x,
//
//   sum = sum of q x - zero (sum of x);  total = fma(scale, float(sum) * scale of x, total)
//
// Written once against Lanes. linear_int16_simd.h and linear_int8_simd.h say how codes of 4 and 8 bits meet x; the
// linear_integer_<tier>.cc put them into tables.
#pragma once

#include "linear/linear_narrow.h"
#include "linear/linear_weights_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

// ---------- x ----------

/** A block of integers, eight after eight in the order that W::store gives them. */
template <class W>
int32_t narrow_block(const float* x, int64_t count, float inverse, typename W::X* to) {
  Eight sum = Eight::zero();
  int64_t c = 0;
  for (; c + 8 <= count; c += 8) {
    const Eight q = Eight::rounded(x + c, inverse);
    sum = sum + q;
    W::store(q, to + c);
  }
  if (c < count) {  // four more
    float last[8] = {};
    typename W::X narrowed[8];
    std::memcpy(last, x + c, 4 * sizeof *x);
    const Eight q = Eight::rounded(last, inverse);
    sum = sum + q;
    W::store(q, narrowed);
    std::memcpy(to + c, narrowed, 4 * sizeof *to);
  }
  return sum.total();
}

/** The 32 bits of x from here on, in every lane. */
template <class X>
NM_INLINE inline Lanes broadcast(const X* x) {
  int32_t bits;
  std::memcpy(&bits, x, sizeof bits);
  return Lanes::all(bits);
}

// ---------- the product ----------

/** sum[r][s] = dot(sum[r][s], codes[s], the 32 bits of x in row r) */
template <class W, int kRows, int kWide>
NM_INLINE inline void add_products(Lanes (&sum)[kRows][kWide], const Lanes (&codes)[kWide], const typename W::X* x,
                                   int64_t stride) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++) {
    const Lanes of_x = broadcast(x + r * stride);
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) sum[r][s].v = W::dot(sum[r][s], codes[s], of_x).v;
  }
}

template <int kRows, int kWide>
NM_INLINE inline void clear(Lanes (&sum)[kRows][kWide]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) sum[r][s].v = Lanes::zero().v;
}

/**
 * One tile. W: Codes = layout of the weight, X = element of x, kSpans as above; Sums<rows, strips> with clear(),
 * add(line, x, stride of its rows), fold() after kFold lines at most, at(r, s) = the int32 sums.
 */
template <class W, int kRows, int kPanels>
void integer_tile(const LinearJob& job, int64_t row, int64_t panel) {
  using Codes = typename W::Codes;
  constexpr int kWide = kPanels * kStrips;
  const Image& image = job.image;
  const NarrowRow x = job.narrow.row(image, row);
  const typename W::X* const elements = static_cast<const typename W::X*>(x.x);
  const int64_t stride = job.narrow.row_bytes / static_cast<int64_t>(sizeof(typename W::X));
  const uint8_t* weights[kPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; p++) weights[p] = image.weights + (panel + p) * image.panel_bytes;
  Vec total[kRows][kWide];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) total[r][s] = Vec::zero();
  typename W::template Sums<kRows, kWide> sums;
  sums.clear();
  int64_t at = 0;  // bytes from the start of a panel
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block block = image.block[b];
    __asm__ volatile("" : : "r"(total) : "memory");  // totals wait in memory, not in registers of the inner loop
    prefetch_next_group<Codes, kPanels>(image, panel, block.group);
    const int64_t ahead = bytes_ahead<kPanels>(image, at);
    for (int64_t c = block.begin; c < block.end;) {
      for (int i = 0; i < W::kFold && c < block.end; i++, c += Codes::kColumns, at += Codes::kLine) {
        Lanes line[kWide];
#pragma GCC unroll 8
        for (int s = 0; s < kWide; s++) {
          const uint8_t* from = weights[s / kStrips] + at;
          if (s % kStrips == 0) __builtin_prefetch(from + ahead);
          line[s].v = Lanes::load(from + s % kStrips * (Codes::kLine / kStrips)).v;
        }
        sums.add(line, elements + c, stride);
      }
      sums.fold();
    }
    if (W::kSpans && !ends_span(image, b)) continue;
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) {
      const int64_t group = ((panel + s / kStrips) * image.groups + block.group) * kPanel + s % kStrips * Vec::N;
      const Lanes zero = Lanes::from_u8(image.zeros + group);
      const Vec scale = scale_of<Codes>(image, panel + s / kStrips, block.group, s % kStrips);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; r++) {
        const Lanes exact = sums.at(r, s) - zero * Lanes::all(x.sum[r * image.blocks + b]);
        total[r][s] = Vec::fma(scale, exact.to_float() * Vec::all(x.scale[r * image.blocks + b]), total[r][s]);
      }
    }
    sums.clear();
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) finish(job, row + r, panel * kPanel + s * Vec::N, total[r][s]);
}

/** Rows of the largest tile, and panels at once: as many as leave their sums in registers. */
constexpr int64_t kIntegerTileRows = Vec::N == 16 ? 8 : 4;

template <class W, int kRows>
void integer_rows(const LinearJob& job, int64_t row, int64_t begin, int64_t end) {
  constexpr int kPanels = Vec::N == 16 ? (kRows <= 2 ? 4 : 2) : kRows == 1 ? 2 : 1;
  int64_t panel = begin;
  for (; panel + kPanels <= end; panel += kPanels) integer_tile<W, kRows, kPanels>(job, row, panel);
  for (; panel < end; panel++) integer_tile<W, kRows, 1>(job, row, panel);
}

/** The rows of the largest tile that there are so many rows for, and how many those are. */
template <class W>
int64_t integer_group(const LinearJob& job, int64_t row, int64_t rows, int64_t begin, int64_t end) {
  if constexpr (kIntegerTileRows == 8) {
    if (rows >= 8) return integer_rows<W, 8>(job, row, begin, end), 8;
  }
  switch (rows) {
    case 1:
      return integer_rows<W, 1>(job, row, begin, end), 1;
    case 2:
      return integer_rows<W, 2>(job, row, begin, end), 2;
    case 3:
      return integer_rows<W, 3>(job, row, begin, end), 3;
    default:
      return integer_rows<W, 4>(job, row, begin, end), 4;
  }
}

template <class W>
void product(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) {
  for (int64_t row = row_begin; row < row_end;) row += integer_group<W>(job, row, row_end - row, begin, end);
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
