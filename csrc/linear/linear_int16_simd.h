// int4 weights (2 to 4 bits) times activations of 16 bits, for every M: integer arithmetic from the codes to the end of a
// block, so that its sum is exact, whatever order, tile, batch or tier it is computed in.
//
// In each block of columns a row of x becomes x16 = round(x / s), s = max |x| / 32767: the only rounding that float
// weights do not have, |error| <= s / 2 an element. Then, with the zero point taken out by the sum of x16,
//
//   sum = sum of q x16 - zero (sum of x16);  total = fma(scale, s sum, total)
//
// |sum| <= 256 * 15 * 32767 < 2^27. A lane of a line holds eight codes of a row; the codes j and j + 4 are the low nibbles
// of its two halves after a shift by 4 j, and meet x16[j], x16[j + 4] in one multiply-add of pairs: 16 products an
// instruction (AVX2), 32 (AVX-512), where float32 has 8 and 16.
#pragma once

#include "linear/linear_weights_simd.h"

namespace nm {
namespace NM_TIER {
namespace {

// ---------- x ----------

/** The bits of the largest |x|; those of a NaN are larger than any number's. */
inline uint32_t largest_bits(const float* x, int64_t count) {
  uint32_t most = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  return most;
}

/** x16 of eight columns times `inverse`, in the order 0 4 1 5 2 6 3 7 in which the codes meet them. */
inline void narrow_line(const float* x, float inverse, int16_t* to) {
#if defined(__aarch64__) && !defined(NM_EMULATE)
  const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
  const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
  const int16x4x2_t pairs = {{vqmovn_s32(a), vqmovn_s32(b)}};
  vst2_s16(to, pairs);
#else
  const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(inverse)));
  const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(packed, _mm_srli_si128(packed, 8)));
#endif
}

void narrow(const LinearJob& job, int64_t row, int64_t b, const NarrowRow& to) {
  const Block& block = job.image.block[b];
  const int64_t width = block.end - block.begin;
  const float* x = job.x + row * job.x_stride + block.begin;
  float taken[kMaxBlock];
  if (job.image.map != nullptr) {
    x = job.x + row * job.x_stride;
    const int32_t* map = job.image.map + block.begin;
    for (int64_t c = 0; c < width; c++) taken[c] = map[c] < 0 ? 0.0f : x[map[c]];
    x = taken;
  }
  const uint32_t bits = largest_bits(x, width);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  float inverse = 0;  // an infinity or a NaN makes its whole row NaN
  if (bits < 0x7f800000u) {
    if (largest < 0x1p-100f) largest = 0x1p-100f;  // below, 1 / s might overflow
    inverse = 32767.0f / largest;
  }
  to.scale[b] = bits < 0x7f800000u ? largest / 32767.0f : largest - largest;
  int16_t* const x16 = to.x16 + block.begin;
  for (int64_t c = 0; c < width; c += 8) narrow_line(x + c, inverse, x16 + c);
  int32_t sum = 0;
  for (int64_t c = 0; c < width; c++) sum += x16[c];
  to.sum[b] = sum;
}

// ---------- the product ----------

/** x16[j], x16[j + 4] of a line in every lane. */
NM_INLINE inline Lanes broadcast(const int16_t* line, int j) {
  int32_t pair;
  std::memcpy(&pair, line + 2 * j, sizeof pair);
  return Lanes::all(pair);
}

/** sum[r][s] += (codes j and j + 4 of line s, times a power of two) (the same of x). */
template <int kRows, int kWide>
NM_INLINE inline void add_pair(Lanes (&sum)[kRows][kWide], const Lanes (&codes)[kWide], const int16_t* x,
                               int64_t columns, int j) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++) {
    const Lanes pair = broadcast(x + r * columns, j);
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) sum[r][s].v = Lanes::dot(sum[r][s], codes[s], pair).v;
  }
}

template <int kWide>
NM_INLINE inline void masked(const Lanes (&line)[kWide], int32_t mask, Lanes (&codes)[kWide]) {
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) codes[s].v = (line[s] & Lanes::all(mask)).v;
}

template <int kBits, int kWide>
NM_INLINE inline void shift(Lanes (&line)[kWide]) {
#pragma GCC unroll 8
  for (int s = 0; s < kWide; s++) line[s].v = line[s].template shifted<kBits>().v;
}

/**
 * All eight columns of a line. Odd codes can stay where they are, 16 times their value, when they have sums of their own:
 * one shift instead of three. That pays while there are registers for the sums.
 */
template <bool kApart, int kRows, int kWide>
NM_INLINE inline void add_int4(Lanes (&sum)[kRows][kWide], Lanes (&sum16)[kRows][kWide], Lanes (&line)[kWide],
                               const int16_t* x, int64_t columns) {
  Lanes codes[kWide];
  if constexpr (kApart) {
#pragma GCC unroll 2
    for (int j = 0; j < 4; j += 2) {
      masked(line, 0x000f000f, codes);
      add_pair(sum, codes, x, columns, j);
      masked(line, 0x00f000f0, codes);
      add_pair(sum16, codes, x, columns, j + 1);
      if (j == 0) shift<8>(line);
    }
  } else {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      masked(line, 0x000f000f, codes);
      add_pair(sum, codes, x, columns, j);
      if (j < 3) shift<4>(line);
    }
  }
}

template <int kRows, int kPanels>
void int16_tile(const LinearJob& job, int64_t row, int64_t panel) {
  constexpr int kWide = kPanels * kStrips;
  constexpr bool kApart = kRows <= 2;
  const Image& image = job.image;
  const NarrowRow x = job.narrow.row(image, row);
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
    Lanes sum[kRows][kWide], sum16[kRows][kWide];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
      for (int s = 0; s < kWide; s++) sum[r][s] = sum16[r][s] = Lanes::zero();
    __asm__ volatile("" : : "r"(total) : "memory");  // totals wait in memory, not in registers of the inner loop
    prefetch_next_group<I4, kPanels>(image, panel, block.group);
    const int64_t ahead = bytes_ahead<kPanels>(image, at);
    for (int64_t c = block.begin; c < block.end; c += I4::kColumns, at += I4::kLine) {
      Lanes line[kWide];
#pragma GCC unroll 8
      for (int s = 0; s < kWide; s++) {
        const uint8_t* from = weights[s / kStrips] + at;
        if (s % kStrips == 0) __builtin_prefetch(from + ahead);
        line[s].v = Lanes::load(from + s % kStrips * (I4::kLine / kStrips)).v;
      }
      add_int4<kApart, kRows, kWide>(sum, sum16, line, x.x16 + c, image.columns);
    }
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) {
      const int64_t group = ((panel + s / kStrips) * image.groups + block.group) * kPanel + s % kStrips * Vec::N;
      const Lanes zero = Lanes::from_u8(image.zeros + group);
      const Vec scale = scale_of<I4>(image, panel + s / kStrips, block.group, s % kStrips);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; r++) {
        Lanes exact = sum[r][s] - zero * Lanes::all(x.sum[r * image.blocks + b]);
        if constexpr (kApart) exact = exact + sum16[r][s].sixteenth();
        total[r][s] = Vec::fma(scale, exact.to_float() * Vec::all(x.scale[r * image.blocks + b]), total[r][s]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int s = 0; s < kWide; s++) finish(job, row + r, panel * kPanel + s * Vec::N, total[r][s]);
}

/** Rows of the largest tile, and panels at once: as many as leave their sums in registers. */
constexpr int kInt16Rows = Vec::N == 16 ? 8 : 4;

template <int kRows>
void int16_rows(const LinearJob& job, int64_t row, int64_t begin, int64_t end) {
  constexpr int kPanels = Vec::N == 16 ? (kRows <= 2 ? 4 : 2) : kRows == 1 ? 2 : 1;
  int64_t panel = begin;
  for (; panel + kPanels <= end; panel += kPanels) int16_tile<kRows, kPanels>(job, row, panel);
  for (; panel < end; panel++) int16_tile<kRows, 1>(job, row, panel);
}

/** A tile of `rows` <= kRows rows. */
template <int kRows>
void int16_group(const LinearJob& job, int64_t row, int64_t rows, int64_t begin, int64_t end) {
  if constexpr (kRows > 1)
    if (rows < kRows) return int16_group<kRows - 1>(job, row, rows, begin, end);
  int16_rows<kRows>(job, row, begin, end);
}

void int16(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) {
  for (int64_t row = row_begin; row < row_end; row += kInt16Rows)
    int16_group<kInt16Rows>(job, row, least(row_end - row, kInt16Rows), begin, end);
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
