#include <algorithm>
#include <cmath>

#include "calibrate/gptq.h"

namespace nm {
namespace ref {
namespace {

constexpr int64_t kGramRows = 256;

void add(const float* a, const float* b, int64_t depth, float* c) {
  for (int64_t d = 0; d < depth; d++)
    for (int64_t m = 0; m < kNarrow; m++)
      for (int64_t r = 0; r < kStrip; r++) c[m * kStrip + r] += a[d * kStrip + m] * b[d * kStrip + r];
}

void gram(const float* a, const float* b, int64_t depth, double* c) {
  for (int64_t t = 0; t < depth; t += kGramRows) {
    float part[kNarrow * kStrip] = {};
    add(a + t * kStrip, b + t * kStrip, std::min(kGramRows, depth - t), part);
    for (int64_t i = 0; i < kNarrow * kStrip; i++) c[i] += double{part[i]};
  }
}

void subtract(const double* a, const double* b, int64_t depth, double* c) {
  for (int64_t d = 0; d < depth; d++)
    for (int64_t m = 0; m < kNarrow; m++)
      for (int64_t r = 0; r < kStrip; r++) c[m * kStrip + r] -= a[d * kStrip + m] * b[d * kStrip + r];
}

void substitute(const double* a, double* c) {
  for (int64_t m = 0; m < kNarrow; m++)
    for (int64_t r = 0; r < kStrip; r++) {
      for (int64_t i = 0; i < m; i++) c[m * kStrip + r] -= a[i * kStrip + m] * c[i * kStrip + r];
      c[m * kStrip + r] /= a[m * kStrip + m];
    }
}

void solve(const float* a, const float* c, float* y) {
  for (int64_t m = 0; m < kNarrow; m++)
    for (int64_t r = 0; r < kStrip; r++) {
      float x = c[m * kStrip + r];
      for (int64_t i = 0; i < m; i++) x += y[i * kStrip + r] * a[i * kStrip + m];
      y[m * kStrip + r] = -x;
    }
}

float code_of(float w, float inverse, float zero, float max_code) {
  return std::clamp(std::nearbyint(w * inverse) + zero, 0.0f, max_code);
}

void quantize(const GptqPanel& p) {
  for (int64_t r = 0; r < kStrip; r++) {
    float loss = 0;
    for (int64_t m = 0; m < p.count; m++) {
      const int64_t at = m * kStrip + r;
      float sum = p.sum[at];
      for (int64_t i = 0; i < m; i++) {
        sum += p.w[i * kStrip + r] * p.factor[i * kStrip + m];
        if (p.v != nullptr) sum += p.v[i * kStrip + r] * p.cross_factor[i * kStrip + m];
      }
      const float v = p.w[at] + sum, scale = p.scale[m][r], zero = p.zero[m][r];
      const float code = code_of(v, inverse_of(scale), zero, p.max_code), q = scale * (code - zero);
      const float e = (v - q) * p.pivots[m];
      loss += e * e;
      p.codes[at] = static_cast<uint8_t>(code);
      p.w[at] -= q;
      if (p.v != nullptr) p.v[at] = v;
    }
    p.loss[r] = loss;
  }
}

void extent(const float* w, int64_t count, float* low, float* high) {
  std::fill_n(low, kStrip, 0.0f);
  std::fill_n(high, kStrip, 0.0f);
  for (int64_t i = 0; i < count; i++)
    for (int64_t r = 0; r < kStrip; r++) {
      low[r] = std::min(low[r], w[i * kStrip + r]);
      high[r] = std::max(high[r], w[i * kStrip + r]);
    }
}

void errors(const float* w, int64_t count, const float* scale, const float* zero, float max_code, float power,
            float* error) {
  for (int64_t r = 0; r < kStrip; r++) {
    error[r] = 0;
    for (int64_t i = 0; i < count; i++) {
      const float x = w[i * kStrip + r], code = code_of(x, inverse_of(scale[r]), zero[r], max_code);
      error[r] += std::pow(std::fabs(scale[r] * (code - zero[r]) - x), power);
    }
  }
}

}  // namespace

const GptqKernels gptq = {gram, add, subtract, substitute, solve, quantize, extent, errors};

}  // namespace ref
}  // namespace nm
