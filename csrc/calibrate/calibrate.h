// Round to nearest, and integer weights back to float32; the inner loops of AWQ's searches; EoRA.
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
  /**
   * out[v] = d_v^T G d_v for kForms vectors d_v = d + v * stride; G [count][stride] symmetric. stride is count, rounded up
   * to a multiple of kFormStride, and what lies beyond count is 0.
   */
  void (*forms)(const float* g, const float* d, int64_t count, int64_t stride, float* out);
};

/** Five vectors at a time, and two registers of the widest tier: as many sums as keep the multipliers busy. */
constexpr int64_t kForms = 5, kFormStride = 32;

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
void awq_round(Engine& engine, const nm_awq_round_args& args);
void awq_clip(Engine& engine, const nm_awq_clip_args& args);
void eora(Engine& engine, const nm_eora_args& args);

}  // namespace nm
