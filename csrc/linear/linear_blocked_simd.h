// `blocked`: many rows of x. A block of two strips becomes float32 once, in the first cache, and meets all rows there;
// the rows of x lie tile by tile, so that a tile reads them front to back.
#pragma once

#include "linear/linear_weights_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

/** Rows of the largest register tile, two strips wide: 8 x 2 of 32 registers, 6 x 2 of 16. */
constexpr int kTileRows = Vec::N == 16 ? 8 : 6;

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
    case 1:
      return arrange_tile<1>(job.image, block, x, job.x_stride, to);
    case 2:
      return arrange_tile<2>(job.image, block, x, job.x_stride, to);
    case 3:
      return arrange_tile<3>(job.image, block, x, job.x_stride, to);
    case 4:
      return arrange_tile<4>(job.image, block, x, job.x_stride, to);
    case 5:
      return arrange_tile<5>(job.image, block, x, job.x_stride, to);
    case 6:
      return arrange_tile<6>(job.image, block, x, job.x_stride, to);
    case 7:
      return arrange_tile<7>(job.image, block, x, job.x_stride, to);
    default:
      return arrange_tile<8>(job.image, block, x, job.x_stride, to);
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
    __builtin_prefetch(x + kRows * t.width);  // the next tile, from the second cache: 9 % faster
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
    case 1:
      return multiply_tile<W, 1>(t);
    case 2:
      return multiply_tile<W, 2>(t);
    case 3:
      return multiply_tile<W, 3>(t);
    case 4:
      return multiply_tile<W, 4>(t);
    case 5:
      return multiply_tile<W, 5>(t);
    case 6:
      return multiply_tile<W, 6>(t);
    case 7:
      return multiply_tile<W, 7>(t);
    default:
      return;
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
