// A row of x becomes integers: where its scales begin and end, the same on every tier. In each span of columns
//
//   s = largest |x| / most;  integer = round(x * (most / largest |x|)), halves to even: |error| <= s / 2
//
// A span is one block for 16 bits and all blocks of one group (ends_span) for 8; for 8 bits the largest may also be that
// of the whole row. Compiled once a tier, in a namespace of its own, as simd.h says.
#pragma once

#if !defined(NM_TIER)
#include "core/simd.h"
#endif

#include <cstring>

#include "linear/linear.h"

namespace nm {
namespace NM_TIER {
namespace {

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

struct NarrowScale {
  float scale, inverse;
};

inline NarrowScale narrow_scale(uint32_t bits, int32_t most) {
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  if (bits >= 0x7f800000u) return {largest - largest, 0};  // an infinity or a NaN makes its whole row NaN
  const float integers = static_cast<float>(most);
  return {largest / integers, integers / (largest < 0x1p-100f ? 0x1p-100f : largest)};  // below, it might overflow
}

/** The columns of a block: those of x, or gathered into taken[kMaxBlock]. */
inline const float* block_of_x(const LinearJob& job, int64_t row, const Block& block, float* taken) {
  const float* x = job.x + row * job.x_stride;
  if (job.image.map == nullptr) return x + block.begin;
  const int32_t* map = job.image.map + block.begin;
  for (int64_t c = 0; c < block.end - block.begin; c++) taken[c] = map[c] < 0 ? 0.0f : x[map[c]];
  return taken;
}

/** W::kSpans: spans of several blocks. W::narrow(x, count, inverse, to) writes a block of integers, returns their sum. */
template <class W>
void narrow(const LinearJob& job, int64_t row, const NarrowRow& to) {
  const Image& image = job.image;
  float taken[kMaxBlock];
  const uint32_t of_row = job.scale_per_row ? largest_bits(job.x + row * job.x_stride, image.k) : 0;
  for (int64_t b = 0; b < image.blocks;) {
    int64_t end = b + 1;
    while (W::kSpans && !ends_span(image, end - 1)) end++;
    uint32_t largest = of_row;
    for (int64_t i = b; i < end && !job.scale_per_row; i++) {
      const Block& block = image.block[i];
      const uint32_t bits = largest_bits(block_of_x(job, row, block, taken), block.end - block.begin);
      largest = bits > largest ? bits : largest;
    }
    const NarrowScale s = narrow_scale(largest, job.x_most);
    for (int32_t sum = 0; b < end; b++) {
      const Block& block = image.block[b];
      const float* x = block_of_x(job, row, block, taken);
      sum += W::narrow(x, block.end - block.begin, s.inverse, static_cast<typename W::X*>(to.x) + block.begin);
      to.sum[b] = sum;
      to.scale[b] = s.scale;
    }
  }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
