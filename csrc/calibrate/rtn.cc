// Round to nearest, the baseline every other method is measured against; and its inverse.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "calibrate/grid.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkWeights = 1 << 15;  // some 20 us

/** One row of weights; false when a weight or a scale is not finite, at column *bad. */
bool quantize_row(const CalibrateKernels& kernels, const nm_rtn_args& a, int64_t n, int64_t* bad) {
  const nm_codes& out = *a.out;
  const float max_code = max_code_of(out.bits, a.sym);
  const uint8_t shift = shift_of(a.sym);
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
    out.zeros[g * out.n + n] = static_cast<uint8_t>(static_cast<uint8_t>(grid.zero) + shift);
    if (scale > 0)
      kernels.round(w + k, count, scale, grid.zero, max_code, codes + k);
    else
      std::fill_n(codes + k, count, static_cast<uint8_t>(grid.zero));
    for (int64_t i = k; shift != 0 && i < k + count; i++) codes[i] = static_cast<uint8_t>(codes[i] + shift);
  }
  return true;
}

}  // namespace

void rtn(Engine& engine, const nm_rtn_args& a) {
  const nm_codes& out = check_struct("out", a.out);
  check_codes(out);
  if (out.g_idx != nullptr) fail(NM_ERR_ARGUMENT, "out.g_idx: expected NULL, groups are k / group_size");
  check_scale_type(a.scale_type);
  check_range("sym", a.sym, 0, 2);
  check_matrix("w", a.w, out.n, out.k, a.w_stride);
  check_overlaps(out, a.w, a.w_stride);
  check_array("cancel", a.cancel, 0);
  std::atomic<int64_t> first{INT64_MAX};
  engine.parallel_for(out.n, kChunkWeights / out.k + 1, a.cancel, [&](int64_t begin, int64_t end, int) {
    int64_t bad = 0;
    for (int64_t n = begin; n < end; n++)
      if (!quantize_row(*engine.kernels().calibrate, a, n, &bad)) return keep_first(first, n * out.k + bad);
  });
  if (first != INT64_MAX) refuse_weight(a.w, a.w_stride, out.k, a.scale_type, first);
}

void dequantize(Engine& engine, const nm_dequantize_args& a) {
  const nm_codes& in = check_struct("in", a.in);
  check_codes(in);
  check_matrix("w", a.w, in.n, in.k, a.w_stride);
  check_overlaps(in, a.w, a.w_stride);
  check_array("cancel", a.cancel, 0);
  if (in.g_idx != nullptr)
    check_no_overlap("g_idx", in.g_idx, in.k * 4, "w", a.w, matrix_bytes(in.n, in.k, a.w_stride));
  check_g_idx(in);
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
