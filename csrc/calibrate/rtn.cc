// Round to nearest, the baseline every other method is measured against; and its inverse.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "calibrate/calibrate.h"
#include "convert/numbers.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkWeights = 1 << 15;  // some 20 us

int64_t groups_of(const nm_codes& c) { return (c.k - 1) / c.group_size + 1; }

void check_codes(const nm_codes& c) {
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

int64_t matrix_bytes(int64_t rows, int64_t cols, int64_t stride) { return ((rows - 1) * stride + cols) * 4; }

/** The codes' arrays and w share no byte. */
void check_overlaps(const nm_codes& c, const float* w, int64_t stride) {
  const int64_t bytes = matrix_bytes(c.n, c.k, stride);
  check_no_overlap("codes", c.codes, c.n * c.k, "w", w, bytes);
  check_no_overlap("scales", c.scales, groups_of(c) * c.n * 4, "w", w, bytes);
  check_no_overlap("zeros", c.zeros, groups_of(c) * c.n, "w", w, bytes);
}

float rounded(float x, int32_t type) {
  if (type == NM_F16) return std::bit_cast<float>(numbers::f32_from_f16(numbers::f16_from_f64(double{x})));
  if (type == NM_BF16) return std::bit_cast<float>(numbers::f32_from_bf16(numbers::bf16_from_f64(double{x})));
  return x;
}

struct Grid {
  float scale, zero;  // the scale not yet rounded to its type
};

Grid grid_of(Extent e, bool sym, float max_code) {
  if (sym) {
    const float most = std::max(-e.min, e.max);
    return {2 * (most == 0 ? 1.0f : most) / max_code, (max_code + 1) / 2};
  }
  if (e.min == 0 && e.max == 0) e = {-1, 1};
  const float scale = (e.max - e.min) / max_code;
  // A scale that underflows leaves nothing to choose: every code will be the zero point.
  return {scale, scale > 0 ? std::min(std::nearbyint(-e.min / scale), max_code) : 0.0f};
}

/** The first (row, column) that was wrong, as row * K + column. */
void keep_first(std::atomic<int64_t>& first, int64_t at) {
  int64_t old = first.load(std::memory_order_relaxed);
  while (at < old && !first.compare_exchange_weak(old, at, std::memory_order_relaxed)) {
  }
}

/** One row of weights; false when a weight or a scale is not finite, at column *bad. */
bool quantize_row(const CalibrateKernels& kernels, const nm_rtn_args& a, int64_t n, int64_t* bad) {
  const nm_codes& out = *a.out;
  const float max_code = static_cast<float>((1 << out.bits) - 1);
  const float* w = a.w + n * a.w_stride;
  uint8_t* codes = out.codes + n * out.k;
  for (int64_t g = 0, k = 0; k < out.k; g++, k += out.group_size) {
    const int64_t count = std::min(out.group_size, out.k - k);
    const Extent e = kernels.extent(w + k, count);
    *bad = k;
    if (!std::isfinite(e.min) || !std::isfinite(e.max)) {
      while (std::isfinite(w[*bad])) ++*bad;
      return false;
    }
    const Grid grid = grid_of(e, a.sym != 0, max_code);
    const float scale = rounded(grid.scale, a.scale_type);
    if (!std::isfinite(scale)) return false;
    out.scales[g * out.n + n] = scale;
    out.zeros[g * out.n + n] = static_cast<uint8_t>(grid.zero);
    if (scale > 0)
      kernels.round(w + k, count, scale, grid.zero, max_code, codes + k);
    else
      std::fill_n(codes + k, count, static_cast<uint8_t>(grid.zero));
  }
  return true;
}

[[noreturn]] void refuse(const nm_rtn_args& a, int64_t at) {
  const long long n = at / a.out->k, k = at % a.out->k;
  const float w = a.w[n * a.w_stride + k];
  if (!std::isfinite(w))
    fail(NM_ERR_ARGUMENT, "w[%lld,%lld]: got %g, expected a finite weight", n, k, static_cast<double>(w));
  fail(NM_ERR_ARGUMENT, "w[%lld,%lld]: the scale of its group exceeds the range of scale_type %d", n, k, a.scale_type);
}

}  // namespace

void rtn(Engine& engine, const nm_rtn_args& a) {
  const nm_codes& out = check_struct("out", a.out);
  check_codes(out);
  if (out.g_idx != nullptr) fail(NM_ERR_ARGUMENT, "out.g_idx: expected NULL, groups are k / group_size");
  if (a.scale_type != NM_F32 && a.scale_type != NM_F16 && a.scale_type != NM_BF16)
    fail(NM_ERR_ARGUMENT, "scale_type: got %d, expected 0 (f32), 1 (f16) or 2 (bf16)", a.scale_type);
  check_range("sym", a.sym, 0, 1);
  check_matrix("w", a.w, out.n, out.k, a.w_stride);
  check_overlaps(out, a.w, a.w_stride);
  check_array("cancel", a.cancel, 0);
  std::atomic<int64_t> first{INT64_MAX};
  engine.parallel_for(out.n, kChunkWeights / out.k + 1, a.cancel, [&](int64_t begin, int64_t end, int) {
    int64_t bad = 0;
    for (int64_t n = begin; n < end; n++)
      if (!quantize_row(*engine.kernels().calibrate, a, n, &bad)) return keep_first(first, n * out.k + bad);
  });
  if (first != INT64_MAX) refuse(a, first);
}

void dequantize(Engine& engine, const nm_dequantize_args& a) {
  const nm_codes& in = check_struct("in", a.in);
  check_codes(in);
  check_matrix("w", a.w, in.n, in.k, a.w_stride);
  check_overlaps(in, a.w, a.w_stride);
  check_array("cancel", a.cancel, 0);
  const int64_t groups = groups_of(in);
  if (in.g_idx != nullptr) {
    check_array("g_idx", in.g_idx, in.k);
    check_no_overlap("g_idx", in.g_idx, in.k * 4, "w", a.w, matrix_bytes(in.n, in.k, a.w_stride));
    for (int64_t k = 0; k < in.k; k++) check_range("g_idx", in.g_idx[k], 0, groups - 1);
  }
  const CalibrateKernels& kernels = *engine.kernels().calibrate;
  engine.parallel_for(in.n, kChunkWeights / in.k + 1, a.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      const uint8_t* codes = in.codes + n * in.k;
      float* w = a.w + n * a.w_stride;
      // Columns of one group that lie side by side are one run; with act-order runs are short.
      for (int64_t k = 0, last; k < in.k; k = last) {
        const int64_t g = in.g_idx != nullptr ? in.g_idx[k] : k / in.group_size;
        last = in.g_idx != nullptr ? k + 1 : std::min(k + in.group_size, in.k);
        while (in.g_idx != nullptr && last < in.k && in.g_idx[last] == g) last++;
        const float zero = static_cast<float>(in.zeros[g * in.n + n]);
        kernels.dequantize(codes + k, last - k, in.scales[g * in.n + n], zero, w + k);
      }
    }
  });
}

}  // namespace nm
