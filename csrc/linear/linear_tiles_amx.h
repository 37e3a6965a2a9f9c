// Integer weights times many rows of x in the tiles of AMX: 64 columns of 16 outputs times 16 rows an instruction. Sums
// are those of linear_integer_simd.h, integers that are exact in any order, so outputs are the same bit for bit.
//
// x of 16 bits is two digits, x = 256 high + low: both meet the same weights, two tiles of sums each, and
//
//   sum = 256 (sum of q high) + sum of q low, modulo 2^32 as all sums here
//
// x of 8 bits takes two tiles of rows at once instead. Codes of 4 bits have their zero point subtracted when unpacked,
// for those of 8 it is taken out by the sum of x. A line of an image (image.h) is a row of a tile as it is, a line of
// 4-bit codes is two: columns 0 2 4 6 of eight, then 1 3 5 7, and x lies in the same order.
//
// A piece of a block is at most 64 columns. What a shorter one lacks are zeros in the weights; what the tiles of x read
// there and in rows that are not there does not matter.
#pragma once

#include "linear/linear_narrow.h"
#include "linear/linear_weights_simd.h"

#include "core/tiles_amx.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t kPiece = 64, kTileBytes = 1024;

// ---------- x ----------

/** In each block all high digits, then all low ones. */
inline int32_t narrow_digits(const float* x, int64_t count, float inverse, const uint8_t (&order)[16], uint8_t* to) {
  Eight sum = Eight::zero();
  for (int64_t c = 0; c < count; c += 8) {
    uint8_t digits[16];
    float last[8] = {};
    const bool whole = c + 8 <= count;  // else four more
    if (!whole) std::memcpy(last, x + c, 4 * sizeof *x);
    const Eight q = Eight::rounded(whole ? x + c : last, inverse);
    sum = sum + q;
    q.to_digits(digits, order);
    std::memcpy(to + c, digits, whole ? 8 : 4);
    std::memcpy(to + count + c, digits + 8, whole ? 8 : 4);
  }
  return sum.total();
}

inline int32_t narrow_bytes(const float* x, int64_t count, float inverse, const uint8_t (&order)[8], int8_t* to) {
  Eight sum = Eight::zero();
  for (int64_t c = 0; c < count; c += 8) {
    int8_t bytes[8];
    float last[8] = {};
    const bool whole = c + 8 <= count;
    if (!whole) std::memcpy(last, x + c, 4 * sizeof *x);
    const Eight q = Eight::rounded(whole ? x + c : last, inverse);
    sum = sum + q;
    q.to_i8(bytes, order);
    std::memcpy(to + c, bytes, whole ? 8 : 4);
  }
  return sum.total();
}

// ---------- weights: a piece of 16 outputs becomes a tile ----------

struct TileI8 {
  using Codes = I8;
  static constexpr bool kSigned = false;
  static constexpr uint8_t kOrder[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  static constexpr uint8_t kDigits[16] = {1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 14};

  static void unpack(const uint8_t* line, int64_t columns, const uint8_t*, uint8_t* to) {
    for (int64_t c = 0; c < columns; c += 4, line += 64, to += 64) _mm512_store_si512(to, _mm512_loadu_si512(line));
  }
};

struct TileI4 {
  using Codes = I4;
  static constexpr bool kSigned = true;
  static constexpr uint8_t kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  static constexpr uint8_t kDigits[16] = {1, 5, 9, 13, 3, 7, 11, 15, 0, 4, 8, 12, 2, 6, 10, 14};

  static void unpack(const uint8_t* line, int64_t columns, const uint8_t* zeros, uint8_t* to) {
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i zero = (Lanes::from_u8(zeros) * Lanes::all(0x01010101)).v;
    for (int64_t c = 0; c < columns; c += 8, line += 64, to += 128) {
      const __m512i codes = _mm512_loadu_si512(line);
      const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(codes, 4), low);
      _mm512_store_si512(to, _mm512_sub_epi8(_mm512_and_si512(codes, low), zero));
      _mm512_store_si512(to + 64, _mm512_sub_epi8(odd, zero));
    }
  }
};

/** The pieces of some blocks of two panels: [piece][panel][16][64]. */
template <class Layout>
void unpack(const Image& image, int64_t block_begin, int64_t block_end, const int64_t (&panel)[2], uint8_t* to) {
  for (int64_t b = block_begin; b < block_end; b++) {
    const Block& block = image.block[b];
    for (int64_t c = block.begin; c < block.end; c += kPiece)
      for (const int64_t p : panel) {
        const int64_t columns = least(kPiece, block.end - c);
        const uint8_t* line =
            image.weights + p * image.panel_bytes + c / Layout::Codes::kColumns * Layout::Codes::kLine;
        Layout::unpack(line, columns, image.zeros + (p * image.groups + block.group) * kPanel, to);
        for (int64_t at = columns * kPanel; at < kTileBytes; at += 64)
          _mm512_store_si512(to + at, _mm512_setzero_si512());
        to += kTileBytes;
      }
  }
}

// ---------- the product ----------

/** Tiles: sums 0..3, x 4 and 5, weights 6 and 7. */
template <bool kSigned, int kSum, int kWeights>
inline void dot_signed() {
  if constexpr (kSigned)
    tile_dot_ss < kSum, kSum<2 ? 4 : 5, kWeights>();
  else
    tile_dot_su < kSum, kSum<2 ? 4 : 5, kWeights>();
}

/** Two digits of 16 rows. */
template <class L>
struct X16 {
  using Layout = L;
  using X = uint16_t;
  static constexpr bool kSpans = false;
  static constexpr int64_t kRows = 16;

  static int32_t narrow(const float* x, int64_t count, float inverse, uint16_t* to) {
    return narrow_digits(x, count, inverse, L::kDigits, reinterpret_cast<uint8_t*>(to));
  }
  /** From the first tile of x to the second, in a block so wide. */
  static int64_t second(int64_t width, int64_t) { return width; }
  template <int kSum, int kWeights>
  static void dot_second() {
    if constexpr (L::kSigned)
      tile_dot_us<kSum, 5, kWeights>();
    else
      tile_dot_uu<kSum, 5, kWeights>();
  }
  /** sums: four tiles, as stored. */
  static Lanes sum(const uint8_t* sums, int64_t row, int64_t panel) {
    const uint8_t* high = sums + panel * kTileBytes + row * 64;
    return {_mm512_add_epi32(_mm512_slli_epi32(Lanes::load(high).v, 8), Lanes::load(high + 2 * kTileBytes).v)};
  }
};

/** 32 rows. */
template <class L>
struct X8 {
  using Layout = L;
  using X = int8_t;
  static constexpr bool kSpans = true;
  static constexpr int64_t kRows = 32;

  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    return narrow_bytes(x, count, inverse, L::kOrder, to);
  }
  static int64_t second(int64_t, int64_t row_bytes) { return 16 * row_bytes; }
  template <int kSum, int kWeights>
  static void dot_second() {
    dot_signed<L::kSigned, kSum, kWeights>();
  }
  static Lanes sum(const uint8_t* sums, int64_t row, int64_t panel) {
    return Lanes::load(sums + (row / 16 * 2 + panel) * kTileBytes + row % 16 * 64);
  }
};

inline void clear_sums() {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
}

inline void load_sums(const uint8_t* sums) {
  tile_load<0>(sums, 64);
  tile_load<1>(sums + kTileBytes, 64);
  tile_load<2>(sums + 2 * kTileBytes, 64);
  tile_load<3>(sums + 3 * kTileBytes, 64);
}

inline void store_sums(uint8_t* sums) {
  tile_store<0>(sums, 64);
  tile_store<1>(sums + kTileBytes, 64);
  tile_store<2>(sums + 2 * kTileBytes, 64);
  tile_store<3>(sums + 3 * kTileBytes, 64);
}

/** Adds the products of a block. */
template <class W>
inline const uint8_t* add_block_products(const uint8_t* x, int64_t row_bytes, int64_t width, const uint8_t* weights) {
  const uint8_t* const other = x + W::second(width, row_bytes);
  for (int64_t c = 0; c < width; c += kPiece, weights += 2 * kTileBytes) {
    tile_load<6>(weights, 64);
    tile_load<4>(x + c, row_bytes);
    dot_signed<W::Layout::kSigned, 0, 6>();
    tile_load<7>(weights + kTileBytes, 64);
    dot_signed<W::Layout::kSigned, 1, 7>();
    tile_load<5>(other + c, row_bytes);
    W::template dot_second<2, 6>();
    W::template dot_second<3, 7>();
  }
  return weights;
}

/** What an item of work has in hand: some rows and blocks, two panels. */
struct Piecework {
  const LinearJob& job;
  int64_t row, rows;  // of at most W::kRows
  int64_t panel[2];
  const uint8_t* sums;  // of these
  float* total;         // [rows][2][16]
};

/** total = fma(scale, float(sum) * scale of x, total) at the end of block b. */
template <class W>
void add_to_totals(const Piecework& work, int64_t b) {
  using Codes = typename W::Layout::Codes;
  const Image& image = work.job.image;
  const NarrowRow x = work.job.narrow.row(image, work.row);
  const int64_t group = image.block[b].group;
  for (int s = 0; s < 2; s++) {
    const Vec scale = scale_of<Codes>(image, work.panel[s], group, 0);
    const Lanes zero = Lanes::from_u8(image.zeros + (work.panel[s] * image.groups + group) * kPanel);
    for (int64_t r = 0; r < work.rows; r++) {
      Lanes exact = W::sum(work.sums, r, s);
      if constexpr (!W::Layout::kSigned) exact = exact - zero * Lanes::all(x.sum[r * image.blocks + b]);
      float* total = work.total + (2 * r + s) * kPanel;
      Vec::fma(scale, exact.to_float() * Vec::all(x.scale[r * image.blocks + b]), Vec::load(total)).store(total);
    }
  }
}

/** Some rows times blocks that were unpacked; sums that go on beyond them wait in `unfinished`. */
template <class W>
void add_blocks(const Piecework& work, int64_t block_begin, int64_t block_end, const uint8_t* weights,
                uint8_t* unfinished, uint8_t* sums) {
  const Image& image = work.job.image;
  const uint8_t* const x = static_cast<const uint8_t*>(work.job.narrow.row(image, work.row).x);
  const int64_t row_bytes = work.job.narrow.row_bytes;
  if (W::kSpans && block_begin > 0 && !ends_span(image, block_begin - 1))
    load_sums(unfinished);
  else
    clear_sums();
  for (int64_t b = block_begin; b < block_end; b++) {
    const Block& block = image.block[b];
    weights = add_block_products<W>(x + block.begin * static_cast<int64_t>(sizeof(typename W::X)), row_bytes,
                                    block.end - block.begin, weights);
    if (W::kSpans && !ends_span(image, b)) continue;
    store_sums(sums);
    add_to_totals<W>(work, b);
    clear_sums();
  }
  if (W::kSpans && !ends_span(image, block_end - 1)) store_sums(unfinished);
}

inline int64_t pieces_of(const Block& block) { return (block.end - block.begin + kPiece - 1) / kPiece; }

template <class W>
void tile_product(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
                  uint8_t* memory) {
  constexpr int64_t kSumBytes = kItemRows * kItemPanels * kPanel * 4;
  const Tiles tiles;
  const Image& image = job.image;
  uint8_t *const weights = memory, *const sums = weights + 2 * kPanel * kItemDepth;
  float* const totals = reinterpret_cast<float*>(sums + 4 * kTileBytes);
  uint8_t* const unfinished = sums + 4 * kTileBytes + kSumBytes;
  std::memset(totals, 0, kSumBytes);
  for (int64_t b = 0; b < image.blocks;) {
    int64_t end = b;
    for (int64_t pieces = 0; end < image.blocks; end++) {
      pieces += pieces_of(image.block[end]);
      if (pieces > kItemDepth / kPiece) break;
    }
    for (int64_t panel = panel_begin; panel < panel_end; panel += 2) {
      // Beside an odd last panel stands itself, which is not stored.
      Piecework work = {job, 0, 0, {panel, least(panel + 1, panel_end - 1)}, sums, nullptr};
      unpack<typename W::Layout>(image, b, end, work.panel, weights);
      const int64_t pair = (panel - panel_begin) / 2 * kItemRows * 2 * kPanel;
      for (work.row = row_begin; work.row < row_end; work.row += W::kRows) {
        const int64_t at = pair + (work.row - row_begin) * 2 * kPanel;
        work.rows = least(W::kRows, row_end - work.row);
        work.total = totals + at;
        add_blocks<W>(work, b, end, weights, unfinished + at * 4, sums);
      }
    }
    b = end;
  }
  for (int64_t p = 0; p < panel_end - panel_begin; p++)
    for (int64_t r = 0; r < row_end - row_begin; r++)
      finish(job, row_begin + r, (panel_begin + p) * kPanel,
             Vec::load(totals + ((p / 2 * kItemRows + r) * 2 + p % 2) * kPanel));
}

template <class W>
constexpr TileKernel tile_kernel(const char* name) {
  return {name, sizeof(typename W::X), narrow<W>, tile_product<W>};
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
