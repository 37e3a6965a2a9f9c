// The oracle: sums in float64, each element rounded once.
#include <cmath>

#include "norm/norm.h"

namespace nm {
namespace ref {
namespace {

void rms(const nm_norm_args& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    const float* x = a.x + i / a.groups * a.x_stride + i % a.groups * a.cols;
    float* y = a.y + i / a.groups * a.y_stride + i % a.groups * a.cols;
    double squares = 0;
    for (int64_t c = 0; c < a.cols; c++) squares += static_cast<double>(x[c]) * x[c];
    const double rms = std::sqrt(squares / static_cast<double>(a.cols) + a.eps);
    for (int64_t c = 0; c < a.cols; c++)
      y[c] = static_cast<float>(x[c] / rms * (a.weight != nullptr ? a.weight[c] : 1.0f));
  }
}

void layer(const nm_norm_args& a, int64_t begin, int64_t end) {
  const double n = static_cast<double>(a.cols);
  for (int64_t i = begin; i < end; i++) {
    const float* x = a.x + i / a.groups * a.x_stride + i % a.groups * a.cols;
    float* y = a.y + i / a.groups * a.y_stride + i % a.groups * a.cols;
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < a.cols; c++) sum += x[c];
    const double mean = sum / n;
    for (int64_t c = 0; c < a.cols; c++) squares += (x[c] - mean) * (x[c] - mean);
    const double deviation = std::sqrt(squares / n + a.eps);
    for (int64_t c = 0; c < a.cols; c++) {
      const double weight = a.weight != nullptr ? a.weight[c] : 1.0f;
      const double bias = a.bias != nullptr ? a.bias[c] : 0.0f;
      y[c] = static_cast<float>((x[c] - mean) / deviation * weight + bias);
    }
  }
}

}  // namespace

const NormKernels norm = {rms, layer};

}  // namespace ref
}  // namespace nm
