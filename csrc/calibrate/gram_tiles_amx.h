// Gram matrices in the tiles of AMX, whose bf16 products are exact in float32. x is three digits of 8 bits, x = h + m + l,
// exactly, each the nearest bf16 to what is left. Of the nine products of digits those below 2^-24 of the largest are left
// out:
//
//   a b ~ h h' + (h m' + m h') + (m m' + h l' + l h')
//
// Sums are float32 over 256 rows, and from there on float64, as in gptq_tile_simd.h.
//
// A prepared strip holds, every 32 rows, for each 16 of its 48 columns and each digit two tiles: the right side of a
// product, [row / 2][column][row % 2], and the left side, its transpose. Rows that are missing are zeros.
#pragma once

#include "calibrate/gptq.h"
#include "core/bf16_digits_amx.h"
#include "core/tiles_amx.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t kTileBytes = 1024, kTileColumns = 16, kStep = 32, kSumRows = 256;
constexpr int64_t kDigits = 3, kColumnTiles = kStrip / kTileColumns;
constexpr int64_t kLeftAt = kDigits * kColumnTiles * kTileBytes, kStepBytes = 2 * kLeftAt;

int64_t strip_bytes(int64_t rows) { return (rows + kStep - 1) / kStep * kStepBytes; }

/** Two rows of 16 columns: each digit of both, side by side. */
inline void split(Vec even, Vec odd, __m512i (&pairs)[kDigits]) {
  for (__m512i& pair : pairs) {
    const Vec low = bf16_digit(even), high = bf16_digit(odd);
    pair = bf16_pairs(low, high);
    even = even - low;
    odd = odd - high;
  }
}

void transpose(const uint8_t* from, uint8_t* to) {
  uint32_t in[16][16], out[16][16];
  std::memcpy(in, from, sizeof in);
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++) out[i][j] = in[j][i];
  std::memcpy(to, out, sizeof out);
}

void prepare(const float* strip, int64_t rows, uint8_t* to) {
  for (int64_t t = 0; t < rows; t += kStep, to += kStepBytes)
    for (int64_t c = 0; c < kColumnTiles; c++) {
      uint8_t* const tiles = to + c * kDigits * kTileBytes;
      for (int64_t r = 0; r < kStep; r += 2) {
        const float* x = strip + (t + r) * kStrip + c * kTileColumns;
        const Vec even = t + r < rows ? Vec::load(x) : Vec::zero();
        const Vec odd = t + r + 1 < rows ? Vec::load(x + kStrip) : Vec::zero();
        __m512i pairs[kDigits];
        split(even, odd, pairs);
        for (int64_t d = 0; d < kDigits; d++) _mm512_store_si512(tiles + d * kTileBytes + r / 2 * 64, pairs[d]);
      }
      for (int64_t d = 0; d < kDigits; d++) transpose(tiles + d * kTileBytes, tiles + kLeftAt + d * kTileBytes);
    }
}

/** Sums 0..2, of 48 columns, += one digit of the left side in tile kLeft times one of the right side. */
template <int kLeft>
inline void add_digits(const uint8_t* right) {
  tile_load<6>(right, 64);
  tile_dot_bf16<0, kLeft, 6>();
  tile_load<7>(right + kDigits * kTileBytes, 64);
  tile_dot_bf16<1, kLeft, 7>();
  tile_load<6>(right + 2 * kDigits * kTileBytes, 64);
  tile_dot_bf16<2, kLeft, 6>();
}

/** 32 rows of 16 columns times those of 48, the small products first. */
inline void add_step(const uint8_t* left, const uint8_t* right) {
  tile_load<3>(left, 64);
  tile_load<4>(left + kTileBytes, 64);
  tile_load<5>(left + 2 * kTileBytes, 64);
  add_digits<5>(right);
  add_digits<3>(right + 2 * kTileBytes);
  add_digits<4>(right + kTileBytes);
  add_digits<4>(right);
  add_digits<3>(right + kTileBytes);
  add_digits<3>(right);
}

void multiply(const uint8_t* a, const uint8_t* b, int64_t rows, double* c) {
  const Tiles tiles;
  alignas(64) float sums[kColumnTiles][kTileColumns][kTileColumns];
  for (int64_t i = 0; i < kColumnTiles; i++)
    for (int64_t t = 0; t < rows; t += kSumRows) {
      const int64_t end = rows < t + kSumRows ? rows : t + kSumRows;
      tile_zero<0>();
      tile_zero<1>();
      tile_zero<2>();
      for (int64_t s = t; s < end; s += kStep) {
        const int64_t at = s / kStep * kStepBytes;
        add_step(a + at + kLeftAt + i * kDigits * kTileBytes, b + at);
      }
      tile_store<0>(sums[0], 64);
      tile_store<1>(sums[1], 64);
      tile_store<2>(sums[2], 64);
      for (int64_t r = 0; r < kTileColumns; r++)
        for (int64_t j = 0; j < kColumnTiles; j++) {
          double* to = c + (i * kTileColumns + r) * kStrip + j * kTileColumns;
          const Vec sum = Vec::load(sums[j][r]);
          (Vec64::load(to) + Vec64::low(sum)).store(to);
          (Vec64::load(to + Vec64::N) + Vec64::high(sum)).store(to + Vec64::N);
        }
    }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
