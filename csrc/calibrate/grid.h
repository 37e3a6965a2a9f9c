// What rtn and gptq share: the grid of a group, the checks of canonical codes, the first weight that was wrong.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "calibrate/calibrate.h"
#include "convert/numbers.h"
#include "core/check.h"

namespace nm {

inline int64_t groups_of(const nm_codes& c) { return (c.k - 1) / c.group_size + 1; }

inline void check_codes(const nm_codes& c) {
  check_range("bits", c.bits, 2, 8);
  check_range("n", c.n, 1, kMaxBytes);
  check_range("k", c.k, 1, INT32_MAX);
  check_range("group_size", c.group_size, 1, c.k);
  if (c.n > kMaxBytes / 4 / c.k)
    fail(NM_ERR_ARGUMENT, "n: %lld x %lld elements overflow", static_cast<long long>(c.n), static_cast<long long>(c.k));
  check_array("codes", c.codes, c.n * c.k);
  check_array("scales", c.scales, groups_of(c) * c.n);
  check_array("zeros", c.zeros, groups_of(c) * c.n);
}

inline void check_g_idx(const nm_codes& c) {
  if (c.g_idx == nullptr) return;
  check_array("g_idx", c.g_idx, c.k);
  for (int64_t k = 0; k < c.k; k++) check_range("g_idx", c.g_idx[k], 0, groups_of(c) - 1);
}

/** The codes' arrays and w share no byte. */
inline void check_overlaps(const nm_codes& c, const float* w, int64_t stride) {
  const int64_t bytes = matrix_bytes(c.n, c.k, stride);
  check_no_overlap("codes", c.codes, c.n * c.k, "w", w, bytes);
  check_no_overlap("scales", c.scales, groups_of(c) * c.n * 4, "w", w, bytes);
  check_no_overlap("zeros", c.zeros, groups_of(c) * c.n, "w", w, bytes);
}

inline void check_scale_type(int32_t type) {
  if (type != NM_F32 && type != NM_F16 && type != NM_BF16)
    fail(NM_ERR_ARGUMENT, "scale_type: got %d, expected 0 (f32), 1 (f16) or 2 (bf16)", type);
}

inline float rounded(float x, int32_t type) {
  if (type == NM_F16) return std::bit_cast<float>(numbers::f32_from_f16(numbers::f16_from_f64(double{x})));
  if (type == NM_BF16) return std::bit_cast<float>(numbers::f32_from_bf16(numbers::bf16_from_f64(double{x})));
  return x;
}

struct Grid {
  float scale, zero;  // the scale not yet rounded to its type
};

/** sym 2 leaves the lowest code out. The grid begins at code 0 all the same; what is written is shifted by this. */
inline uint8_t shift_of(int32_t sym) { return sym == 2 ? 1 : 0; }

inline float max_code_of(int32_t bits, int32_t sym) { return static_cast<float>((1 << bits) - 1 - shift_of(sym)); }

inline Grid grid_of(Extent e, bool sym, float max_code) {
  if (sym) {
    const float most = std::max(-e.min, e.max);
    return {2 * (most == 0 ? 1.0f : most) / max_code, std::floor((max_code + 1) / 2)};
  }
  if (e.min == 0 && e.max == 0) e = {-1, 1};
  const float scale = (e.max - e.min) / max_code;
  // A scale that underflows leaves nothing to choose: every code will be the zero point.
  return {scale, scale > 0 ? std::min(std::nearbyint(-e.min / scale), max_code) : 0.0f};
}

/** Keeps the smallest of all places given, as row * K + column. */
inline void keep_first(std::atomic<int64_t>& first, int64_t at) {
  int64_t old = first.load(std::memory_order_relaxed);
  while (at < old && !first.compare_exchange_weak(old, at, std::memory_order_relaxed)) {
  }
}

/** Says what is wrong at row * K + column: the weight itself, or the scale that its group would need. */
[[noreturn]] inline void refuse_weight(const float* w, int64_t stride, int64_t k, int32_t scale_type, int64_t at) {
  const long long row = at / k, column = at % k;
  const float x = w[row * stride + column];
  if (!std::isfinite(x))
    fail(NM_ERR_ARGUMENT, "w[%lld,%lld]: got %g, expected a finite weight", row, column, static_cast<double>(x));
  fail(NM_ERR_ARGUMENT, "w[%lld,%lld]: the scale of its group exceeds the range of scale_type %d", row, column,
       scale_type);
}

}  // namespace nm
