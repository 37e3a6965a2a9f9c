// Float weights times x in the tiles of AMX, whose products of bf16 are exact in float32. x is two digits of 8 bits, the
// nearest bf16 and the nearest to what is left: off by 2^-16 of itself at most. Weights in bf16 are one digit; of float16
// and float32 ones two are taken, which hold float16 exactly:
//
//   x w ~ h h' + l h' + h l'
//
// Sums are float32 over 256 columns, and the totals of these are added in order. Subnormal numbers count as 0. All is the
// same for a row alone and in any batch, so these kernels serve every M.
//
// A piece is 32 columns. x lies by 256 columns, all first digits and then all second ones, and is filled up with zeros.
#pragma once

#include "linear/linear_weights_simd.h"

#include "core/bf16_digits_amx.h"
#include "core/tiles_amx.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t kFloatPiece = 32, kFloatTile = 1024;
/** Columns that are summed at once, and the bytes of one of x in them. */
constexpr int64_t kFloatSum = 256, kFloatColumn = 2 * 2;

inline int64_t whole_pieces(int64_t columns) { return (columns + kFloatPiece - 1) / kFloatPiece * kFloatPiece; }

void narrow_float(const LinearJob& job, int64_t row, const NarrowRow& to) {
  const int64_t columns = job.image.columns;
  const float* const x = job.x + row * job.x_stride;
  for (int64_t from = 0; from < columns; from += kFloatSum) {
    const int64_t width = whole_pieces(least(kFloatSum, columns - from));
    uint8_t* const high = static_cast<uint8_t*>(to.x) + from * kFloatColumn;
    for (int64_t c = 0; c < width; c += Vec::N) {
      const int64_t left = columns - from - c;
      const Vec all = left >= Vec::N ? Vec::load(x + from + c)
                      : left > 0     ? Vec::load(x + from + c, static_cast<int>(left))
                                     : Vec::zero();
      const Vec first = bf16_digit(all);
      store_bf16(first, high + 2 * c);
      store_bf16(bf16_digit(all - first), high + 2 * (width + c));
    }
  }
}

/** Columns [from, from + width) of a panel: [piece][digit][16][64], rows of a tile being two columns of 16 outputs. */
template <class W, int kDigits>
void unpack_floats(const uint8_t* line, int64_t width, uint8_t* to, int64_t piece_bytes) {
  for (int64_t c = 0; c < whole_pieces(width); c += 2) {
    typename W::Line even = c < width ? W::load(line + c * W::kLine) : Vec::zero();
    typename W::Line odd = c + 1 < width ? W::load(line + (c + 1) * W::kLine) : Vec::zero();
    uint8_t* const at = to + c / kFloatPiece * piece_bytes + c % kFloatPiece / 2 * 64;
#pragma GCC unroll 2
    for (int d = 0; d < kDigits; d++) {
      const Vec a = bf16_digit(even), b = bf16_digit(odd);
      _mm512_store_si512(at + d * kFloatTile, bf16_pairs(a, b));
      even = even - a;
      odd = odd - b;
    }
  }
}

/** Sums 0 1 (rows of tile 4), 2 3 (of tile 5) += x times the weights in tiles 6 and 7. */
template <bool kBoth>
inline void add_floats(const uint8_t* x, int64_t row_bytes) {
  tile_load<4>(x, row_bytes);
  tile_dot_bf16<0, 4, 6>();
  tile_dot_bf16<1, 4, 7>();
  if constexpr (kBoth) {
    tile_load<5>(x + 16 * row_bytes, row_bytes);
    tile_dot_bf16<2, 5, 6>();
    tile_dot_bf16<3, 5, 7>();
  }
}

/** One sum of columns of 32 (or 16) rows and 32 outputs. weights: [piece][panel][digit]. */
template <int kDigits, bool kBoth>
void sum_floats(const uint8_t* x, int64_t row_bytes, int64_t width, const uint8_t* weights, uint8_t* sums) {
  tile_zero<0>();
  tile_zero<1>();
  if constexpr (kBoth) {
    tile_zero<2>();
    tile_zero<3>();
  }
  for (int64_t c = 0; c < width; c += kFloatPiece, weights += 2 * kDigits * kFloatTile) {
    tile_load<6>(weights, 64);
    tile_load<7>(weights + kDigits * kFloatTile, 64);
    add_floats<kBoth>(x + 2 * c, row_bytes);
    add_floats<kBoth>(x + 2 * (width + c), row_bytes);
    if constexpr (kDigits == 2) {
      tile_load<6>(weights + kFloatTile, 64);
      tile_load<7>(weights + 3 * kFloatTile, 64);
      add_floats<kBoth>(x + 2 * c, row_bytes);
    }
  }
  tile_store<0>(sums, 64);
  tile_store<1>(sums + kFloatTile, 64);
  if constexpr (kBoth) {
    tile_store<2>(sums + 2 * kFloatTile, 64);
    tile_store<3>(sums + 3 * kFloatTile, 64);
  }
}

template <class W, int kDigits>
void float_product(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
                   uint8_t* memory) {
  static_assert(kFloatSum / kFloatPiece * 4 * kFloatTile <= 2 * kPanel * kItemDepth);
  const Tiles tiles;
  const Image& image = job.image;
  uint8_t *const weights = memory, *const sums = weights + 2 * kPanel * kItemDepth;
  float* const totals = reinterpret_cast<float*>(sums + 4 * kFloatTile);  // [panels / 2][kItemRows][2][16]
  std::memset(totals, 0, static_cast<size_t>(kItemRows * kItemPanels * kPanel) * sizeof(float));
  for (int64_t from = 0; from < image.columns; from += kFloatSum) {
    const int64_t width = least(kFloatSum, image.columns - from), whole = whole_pieces(width);
    for (int64_t panel = panel_begin; panel < panel_end; panel += 2) {
      for (int64_t s = 0; s < 2; s++)  // beside an odd last panel stands itself, which is not stored
        unpack_floats<W, kDigits>(image.weights + least(panel + s, panel_end - 1) * image.panel_bytes + from * W::kLine,
                                  width, weights + s * kDigits * kFloatTile, 2 * kDigits * kFloatTile);
      for (int64_t row = row_begin; row < row_end; row += 32) {
        const int64_t rows = least(32, row_end - row), row_bytes = job.narrow.row_bytes;
        const uint8_t* x = static_cast<const uint8_t*>(job.narrow.row(image, row).x) + from * kFloatColumn;
        if (rows > 16)
          sum_floats<kDigits, true>(x, row_bytes, whole, weights, sums);
        else
          sum_floats<kDigits, false>(x, row_bytes, whole, weights, sums);
        float* total = totals + ((panel - panel_begin) / 2 * kItemRows + row - row_begin) * 2 * kPanel;
        for (int64_t r = 0; r < rows; r++)
          for (int64_t s = 0; s < 2; s++, total += kPanel) {
            const uint8_t* sum = sums + (r / 16 * 2 + s) * kFloatTile + r % 16 * 64;
            (Vec::load(total) + Vec::load(reinterpret_cast<const float*>(sum))).store(total);
          }
      }
    }
  }
  for (int64_t p = 0; p < panel_end - panel_begin; p++)
    for (int64_t r = 0; r < row_end - row_begin; r++)
      finish(job, row_begin + r, (panel_begin + p) * kPanel,
             Vec::load(totals + ((p / 2 * kItemRows + r) * 2 + p % 2) * kPanel));
}

template <class W, int kDigits>
constexpr TileKernel float_tile_kernel(const char* name) {
  return {name, static_cast<int32_t>(kFloatColumn), narrow_float, float_product<W, kDigits>};
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
