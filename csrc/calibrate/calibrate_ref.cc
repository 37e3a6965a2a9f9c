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

}  // namespace

const CalibrateKernels calibrate = {extent, round, dequantize};

}  // namespace ref
}  // namespace nm
