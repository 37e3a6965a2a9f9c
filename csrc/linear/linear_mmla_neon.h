// Many rows of x by the matrix instructions of FEAT_I8MM: USMMLA and UMMLA multiply two rows of codes with two rows of x over
// eight columns, 32 products an instruction. Two lines of a panel (8 bits: four columns each) or the two halves of one (4
// bits) are zipped into the eight columns of a row of codes. x is stored as for the kernels of one row, which serve M = 1;
// the sums are the same integers.
#pragma once

#include "linear/linear_digits_neon.h"

namespace nm {
namespace NM_TIER {
namespace {

/** Codes of eight columns and eight outputs, two outputs a register. */
struct EightCodes {
  uint8x16_t of[4];
  NM_INLINE EightCodes(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
      : of{zip1(a, c), zip2(a, c), zip1(b, d), zip2(b, d)} {}

 private:
  NM_INLINE static uint8x16_t zip1(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  NM_INLINE static uint8x16_t zip2(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
};

/** From the lines of a strip of a panel; columns: 8, or 4 at the end of a block, whose other codes are then 0. */
template <class Codes>
NM_INLINE inline EightCodes eight_codes(const uint8_t* strip, int64_t columns) {
  const uint8x16_t a = vld1q_u8(strip), b = vld1q_u8(strip + 16);
  if constexpr (Codes::kColumns == 8) {
    const uint8x16_t low = vdupq_n_u8(15);
    return {vandq_u8(a, low), vandq_u8(b, low), vshrq_n_u8(a, 4), vshrq_n_u8(b, 4)};
  } else {
    if (columns < 8) return {a, b, vdupq_n_u8(0), vdupq_n_u8(0)};
    return {a, b, vld1q_u8(strip + Codes::kLine), vld1q_u8(strip + Codes::kLine + 16)};
  }
}

/** Sums of two rows of x and eight outputs: in each register [output][row] of two outputs. */
struct PairSums {
  int32x4_t of[4];
  NM_INLINE void clear() {
    for (int i = 0; i < 4; i++) of[i] = vdupq_n_s32(0);
  }
  NM_INLINE void add(const EightCodes& codes, int8x16_t x) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) of[i] = vusmmlaq_s32(of[i], codes.of[i], x);
  }
  NM_INLINE void add(const EightCodes& codes, uint8x16_t x) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) of[i] = vreinterpretq_s32_u32(vmmlaq_u32(vreinterpretq_u32_s32(of[i]), codes.of[i], x));
  }
  NM_INLINE Lanes row(int r) const {
    return r == 0 ? Lanes{{vuzp1q_s32(of[0], of[1]), vuzp1q_s32(of[2], of[3])}}
                  : Lanes{{vuzp2q_s32(of[0], of[1]), vuzp2q_s32(of[2], of[3])}};
  }
};

/** x of 8 bits. */
template <class W>
struct ByteRows : W {
  static constexpr int kPairs = 4;  // of rows at once: as many as leave their sums in registers
  struct Sums {
    PairSums sum;
    NM_INLINE void clear() { sum.clear(); }
    NM_INLINE void add(const EightCodes& codes, const int8_t* x0, const int8_t* x1, int64_t columns) {
      sum.add(codes, vcombine_s8(part(x0, columns), part(x1, columns)));
    }
    NM_INLINE Lanes row(int r) const { return sum.row(r); }
  };

 private:
  NM_INLINE static int8x8_t part(const int8_t* x, int64_t columns) {
    if (columns == 8) return vld1_s8(x);
    int32_t four;
    std::memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vset_lane_s32(four, vdup_n_s32(0), 0));
  }
};

/** x of 16 bits, in digits. */
template <class W>
struct DigitRows : W {
  static constexpr int kPairs = 2;
  struct Sums {
    PairSums high, low;
    NM_INLINE void clear() {
      high.clear();
      low.clear();
    }
    NM_INLINE void add(const EightCodes& codes, const int16_t* x0, const int16_t* x1, int64_t columns) {
      const int32x4_t a = part(x0, columns), b = part(x1, columns);
      high.add(codes, vreinterpretq_s8_s32(vuzp1q_s32(a, b)));
      low.add(codes, vreinterpretq_u8_s32(vuzp2q_s32(a, b)));
    }
    NM_INLINE Lanes row(int r) const { return high.row(r) * Lanes::all(256) + low.row(r); }
  };

 private:
  NM_INLINE static int32x4_t part(const int16_t* x, int64_t columns) {
    return vreinterpretq_s32_s16(columns == 8 ? vld1q_s16(x) : vcombine_s16(vld1_s16(x), vdup_n_s16(0)));
  }
};

/** The rows [row, row + rows) of kPairs pairs, of which the last may be half: then its row counts twice, and once as y. */
template <class M, int kPairs>
void mmla_tile(const LinearJob& job, int64_t row, int64_t rows, int64_t panel, int strip) {
  using Codes = typename M::Codes;
  const Image& image = job.image;
  const uint8_t* line = image.weights + panel * image.panel_bytes + strip * (Codes::kLine / kStrips);
  const typename M::X* x[2 * kPairs];
  Vec total[2 * kPairs];
  typename M::Sums sums[kPairs];
  for (int r = 0; r < 2 * kPairs; r++) {
    x[r] = static_cast<const typename M::X*>(job.narrow.row(image, row + (r < rows ? r : rows - 1)).x);
    total[r].v = Vec::zero().v;
  }
  for (int p = 0; p < kPairs; p++) sums[p].clear();
  const NarrowRow first = job.narrow.row(image, row);
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block block = image.block[b];
    __asm__ volatile("" : : "r"(total) : "memory");  // totals wait in memory, not in registers of the inner loop
    const auto add = [&](int64_t c, int64_t columns) __attribute__((always_inline)) {
      const EightCodes codes = eight_codes<Codes>(line, columns);
#pragma GCC unroll 4
      for (int p = 0; p < kPairs; p++) sums[p].add(codes, x[2 * p] + c, x[2 * p + 1] + c, columns);
      line += columns / Codes::kColumns * Codes::kLine;
    };
    int64_t c = block.begin;
    for (; c + 8 <= block.end; c += 8) add(c, 8);
    if (Codes::kColumns == 4 && c < block.end) add(c, 4);
    if (M::kSpans && !ends_span(image, b)) continue;
    const int64_t group = (panel * image.groups + block.group) * kPanel + strip * Vec::N;
    const Lanes zero = Lanes::from_u8(image.zeros + group);
    const Vec scale = scale_of<Codes>(image, panel, block.group, strip);
    for (int r = 0; r < 2 * kPairs && r < rows; r++) {
      const int64_t at = r * image.blocks + b;
      const Lanes exact = sums[r / 2].row(r % 2) - zero * Lanes::all(first.sum[at]);
      total[r].v = Vec::fma(scale, exact.to_float() * Vec::all(first.scale[at]), total[r]).v;
    }
    for (int p = 0; p < kPairs; p++) sums[p].clear();
  }
  for (int r = 0; r < 2 * kPairs && r < rows; r++) finish(job, row + r, panel * kPanel + strip * Vec::N, total[r]);
}

template <class M, int kPairs>
void mmla_rows(const LinearJob& job, int64_t row, int64_t rows, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; panel++)
    for (int strip = 0; strip < kStrips; strip++) mmla_tile<M, kPairs>(job, row, rows, panel, strip);
}

/** product<W> for one row, matrices of it for more. */
template <class W, class M>
void mmla_product(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) {
  for (int64_t row = row_begin; row < row_end;) {
    const int64_t left = row_end - row, rows = left < 2 * M::kPairs ? left : 2 * M::kPairs;
    if (rows == 1)
      product<W>(job, row, row + 1, begin, end);
    else if (rows == 2)
      mmla_rows<M, 1>(job, row, rows, begin, end);
    else if (rows <= 4 || M::kPairs == 2)
      mmla_rows<M, 2>(job, row, rows, begin, end);
    else
      mmla_rows<M, M::kPairs>(job, row, rows, begin, end);
    row += rows;
  }
}

template <class W, class M>
constexpr IntegerKernel mmla_kernel(const char* name) {
  return {name, sizeof(typename W::X), narrow<W>, mmla_product<W, M>};
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
