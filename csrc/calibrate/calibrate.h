// Round to nearest, and integer weights back to float32.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** Smallest and largest of a group, 0 included; not finite when one of its weights is not. */
struct Extent {
  float min, max;
};

/** One run of columns of one group and row, on one thread. */
struct CalibrateKernels {
  Extent (*extent)(const float* w, int64_t count);
  /** codes[i] = round(clamp(w[i] / scale, -zero, max_code - zero)) + zero, halves to even; scale > 0. */
  void (*round)(const float* w, int64_t count, float scale, float zero, float max_code, uint8_t* codes);
  /** w[i] = scale * (codes[i] - zero): one rounding, so equal bit for bit on every tier. */
  void (*dequantize)(const uint8_t* codes, int64_t count, float scale, float zero, float* w);
};

namespace ref {
extern const CalibrateKernels calibrate;
}
namespace avx2 {
extern const CalibrateKernels calibrate;
}
namespace avx512 {
extern const CalibrateKernels calibrate;
}

void rtn(Engine& engine, const nm_rtn_args& args);
void dequantize(Engine& engine, const nm_dequantize_args& args);

}  // namespace nm
