#include <algorithm>
#include <cmath>

#include "calibrate/calibrate.h"

namespace nm {
namespace ref {
namespace {

Extent extent(const float* w, int64_t count) {
  Extent e = {0, 0};
  for (int64_t i = 0; i < count; i++) {
    if (!std::isfinite(w[i])) return {w[i], w[i]};
    e.min = std::min(e.min, w[i]);
    e.max = std::max(e.max, w[i]);
  }
  return e;
}

void round(const float* w, int64_t count, float scale, float zero, float max_code, uint8_t* codes) {
  for (int64_t i = 0; i < count; i++)
    codes[i] = static_cast<uint8_t>(std::nearbyint(std::clamp(w[i] / scale, -zero, max_code - zero)) + zero);
}

void dequantize(const uint8_t* codes, int64_t count, float scale, float zero, float* w) {
  for (int64_t i = 0; i < count; i++) w[i] = scale * (static_cast<float>(codes[i]) - zero);
}

void forms(const float* g, const float* d, int64_t count, int64_t stride, float* out) {
  for (int64_t v = 0; v < kForms; v++, d += stride) {
    out[v] = 0;
    for (int64_t j = 0; j < count; j++) {
      float sum = 0;
      for (int64_t i = 0; i < count; i++) sum += d[i] * g[i * stride + j];
      out[v] += sum * d[j];
    }
  }
}

}  // namespace

const CalibrateKernels calibrate = {extent, round, dequantize, forms};

}  // namespace ref
}  // namespace nm
