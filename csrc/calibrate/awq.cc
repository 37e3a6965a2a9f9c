// AWQ's two searches (Lin et al. 2023), but for what runs the model: what a candidate scale leaves of a weight, and the
// range to which each group is clipped. The paper measures a clipped group by the squares of its partial sums over a
// sample of tokens; the Gram matrix of a group's inputs gives the sum over all of them without a look at any.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "calibrate/grid.h"
#include "calibrate/strips.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkWeights = 1 << 15;
constexpr int64_t kLimits = 10, kSteps = 20;  // the paper's grid: down to half of the range, and a step more
constexpr int64_t kRows = 64;                 // that share one copy of a group's Gram matrix

static_assert(kLimits % kForms == 0);

/** How groups are rounded: common to both searches. */
struct Rounding {
  template <class Args>
  explicit Rounding(const Args& a) : sym(a.sym != 0), scale_type(a.scale_type), max_code(largest_code(a.bits)) {
    check_range("sym", a.sym, 0, 1);
    check_scale_type(a.scale_type);
    check_range("n", a.n, 1, kMaxBytes);
    check_range("k", a.k, 1, INT32_MAX);
    check_range("group_size", a.group_size, 1, a.k);
    check_matrix("w", a.w, a.n, a.k, a.w_stride);
    check_array("cancel", a.cancel, 0);
  }

  /** back = the rounded w of a group of this extent; codes is work memory. False: its scale is beyond the type. */
  bool round(const CalibrateKernels& kernels, const float* w, int64_t count, Extent e, uint8_t* codes,
             float* back) const {
    const Grid grid = grid_of(e, sym, max_code);
    const float scale = rounded(grid.scale, scale_type);
    if (!std::isfinite(scale)) return false;
    if (scale > 0) {
      kernels.round(w, count, scale, grid.zero, max_code, codes);
      kernels.dequantize(codes, count, scale, grid.zero, back);
    } else {
      std::fill_n(back, count, 0.0f);
    }
    return true;
  }

  /** Checked before it is a shift: one by a negative number is undefined. */
  static float largest_code(int32_t bits) {
    check_range("bits", bits, 2, 8);
    return static_cast<float>((1 << bits) - 1);
  }

  const bool sym;
  const int32_t scale_type;
  const float max_code;
};

void check_scale(const float* scale, int64_t k) {
  check_array("scale", scale, k);
  for (int64_t i = 0; i < k; i++)
    if (!(scale[i] > 0) || !std::isfinite(scale[i]))
      fail(NM_ERR_ARGUMENT, "scale[%lld]: got %g, expected a positive number", static_cast<long long>(i),
           static_cast<double>(scale[i]));
}

bool is_finite(Extent e) { return std::isfinite(e.min) && std::isfinite(e.max); }

/** The diagonal block of `count` columns from `first`, of inputs divided by scale. */
void gather(const nm_awq_clip_args& a, int64_t first, int64_t count, int64_t stride, float* block) {
  std::fill_n(block, count * stride, 0.0f);
  for (int64_t j = 0; j < count; j++)
    for (int64_t i = 0; i <= j; i++) {
      double x = *at_triangle(a.gram, first + i, first + j);
      if (a.scale != nullptr) x /= static_cast<double>(a.scale[first + i]) * static_cast<double>(a.scale[first + j]);
      block[i * stride + j] = block[j * stride + i] = static_cast<float>(x);
    }
}

/** Work memory of a thread. */
struct Room {
  Room(WorkMemory& memory, int64_t stride) {
    block = memory.get<float>(floats(stride));
    errors = block + stride * stride;
    clipped = errors + kForms * stride;
    codes = reinterpret_cast<uint8_t*>(clipped + stride);
  }
  static int64_t floats(int64_t stride) { return stride * (stride + kForms + 2); }
  float* block;    // [count][stride]
  float* errors;   // [kForms][stride]
  float* clipped;  // [count]
  uint8_t* codes;  // [count]
};

/** Clips one group of one row; false when a weight or its scale is not finite. */
bool clip(const CalibrateKernels& kernels, const Rounding& rounding, const Room& room, int64_t count, int64_t stride,
          float* w) {
  const Extent e = kernels.extent(w, count);
  if (!is_finite(e)) return false;
  const float most = std::max(-e.min, e.max);
  float best = 0, least = 0;
  std::fill_n(room.errors, kForms * stride, 0.0f);
  for (int64_t first = 0; first < kLimits; first += kForms) {
    float limits[kForms], found[kForms];
    for (int64_t v = 0; v < kForms; v++) {
      float* d = room.errors + v * stride;
      const float limit = limits[v] = most * (1 - static_cast<float>(first + v) / static_cast<float>(kSteps));
      // Codes reach beyond the limit by up to half a step, so what they get is clipped first, as it will be in the end.
      for (int64_t i = 0; i < count; i++) room.clipped[i] = std::clamp(w[i], -limit, limit);
      const Extent range = {std::max(e.min, -limit), std::min(e.max, limit)};
      if (!rounding.round(kernels, room.clipped, count, range, room.codes, d)) return false;
      for (int64_t i = 0; i < count; i++) d[i] -= w[i];
    }
    kernels.forms(room.block, room.errors, count, stride, found);
    for (int64_t v = 0; v < kForms; v++)
      if (first + v == 0 || found[v] < least) least = found[v], best = limits[v];
  }
  for (int64_t i = 0; i < count; i++) w[i] = std::clamp(w[i], -best, best);
  return true;
}

/** A weight that is not finite is at fault, else the scale of a group that begins at `at`. */
int64_t first_odd(const float* w, int64_t at, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!std::isfinite(w[i])) return at + i;
  return at;
}

}  // namespace

void awq_round(Engine& engine, const nm_awq_round_args& a) {
  const Rounding rounding(a);
  check_matrix("y", a.y, a.n, a.k, a.y_stride);
  check_scale(a.scale, a.k);
  const int64_t bytes = matrix_bytes(a.n, a.k, a.y_stride);
  if (a.y != a.w || a.y_stride != a.w_stride)
    check_no_overlap("y", a.y, bytes, "w", a.w, matrix_bytes(a.n, a.k, a.w_stride));
  check_no_overlap("y", a.y, bytes, "scale", a.scale, a.k * 4);
  const int64_t room = a.group_size + (a.group_size + 3) / 4;  // the scaled group, then its codes
  for (int worker = 0; worker < engine.threads(); worker++) engine.work(worker).get<float>(room);
  std::atomic<int64_t> bad{INT64_MAX};
  engine.parallel_for(a.n, kChunkWeights / a.k + 1, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    const CalibrateKernels& kernels = *engine.kernels().calibrate;
    float* const scaled = engine.work(worker).get<float>(room);
    uint8_t* const codes = reinterpret_cast<uint8_t*>(scaled + a.group_size);
    for (int64_t n = begin; n < end; n++)
      for (int64_t k = 0; k < a.k; k += a.group_size) {
        const int64_t count = std::min(a.group_size, a.k - k);
        const float* w = a.w + n * a.w_stride + k;
        float* y = a.y + n * a.y_stride + k;
        for (int64_t i = 0; i < count; i++) scaled[i] = w[i] * a.scale[k + i];
        const Extent e = kernels.extent(scaled, count);
        if (!is_finite(e) || !rounding.round(kernels, scaled, count, e, codes, y))
          return keep_first(bad, n * a.k + k + first_odd(w, 0, count));
        for (int64_t i = 0; i < count; i++) y[i] /= a.scale[k + i];
      }
  });
  if (bad != INT64_MAX) refuse_weight(a.w, a.w_stride, a.k, a.scale_type, bad);
}

void awq_clip(Engine& engine, const nm_awq_clip_args& a) {
  const Rounding rounding(a);
  check_array("gram", a.gram, triangle(strips_of(a.k)));
  if (a.scale != nullptr) check_scale(a.scale, a.k);
  const int64_t bytes = matrix_bytes(a.n, a.k, a.w_stride);
  check_no_overlap("w", a.w, bytes, "gram", a.gram, triangle(strips_of(a.k)) * 8);
  if (a.scale != nullptr) check_no_overlap("w", a.w, bytes, "scale", a.scale, a.k * 4);
  const int64_t stride = (a.group_size + kFormStride - 1) / kFormStride * kFormStride;
  for (int worker = 0; worker < engine.threads(); worker++) engine.work(worker).get<float>(Room::floats(stride));
  const int64_t parts = (a.n - 1) / kRows + 1, groups = (a.k - 1) / a.group_size + 1;
  std::atomic<int64_t> bad{INT64_MAX};
  engine.parallel_for(groups * parts, 1, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    const Room room(engine.work(worker), stride);
    for (int64_t item = begin; item < end; item++) {
      const int64_t k = item / parts * a.group_size, count = std::min(a.group_size, a.k - k);
      gather(a, k, count, stride, room.block);
      const int64_t row = item % parts * kRows, last = std::min(row + kRows, a.n);
      for (int64_t n = row; n < last; n++) {
        float* w = a.w + n * a.w_stride + k;
        if (!clip(*engine.kernels().calibrate, rounding, room, count, stride, w))
          return keep_first(bad, n * a.k + k + first_odd(w, 0, count));
      }
    }
  });
  if (bad != INT64_MAX) refuse_weight(a.w, a.w_stride, a.k, a.scale_type, bad);
}

}  // namespace nm
