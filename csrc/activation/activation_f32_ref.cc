// The oracle: each element in float64, rounded once.
#include <cmath>

#include "activation/activation.h"

namespace nm {
namespace ref {
namespace {

double silu(double x) { return x / (1.0 + std::exp(-x)); }

double gelu(double x) { return x * 0.5 * std::erfc(-x * 0.70710678118654752440); }

/** x / 2 * (1 + tanh(u)) = x / (1 + exp(-2 u)): without the cancellation for negative x. */
double gelu_tanh(double x) {
  const double sqrt_2_over_pi = 0.79788456080286535588;
  return x / (1.0 + std::exp(-2.0 * sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
}

double relu(double x) { return x < 0.0 ? 0.0 : x; }

double apply(int32_t kind, double x) {
  switch (kind) {
    case NM_SILU:
      return silu(x);
    case NM_GELU:
      return gelu(x);
    case NM_GELU_TANH:
      return gelu_tanh(x);
    default:
      return relu(x);
  }
}

void activate(const nm_activation_args& a, int64_t begin, int64_t end) {
  const int64_t pieces = (a.cols + kActivationPiece - 1) / kActivationPiece;
  for (int64_t item = begin; item < end; item++) {
    const int64_t row = item / pieces, from = item % pieces * kActivationPiece;
    const int64_t to = from + kActivationPiece < a.cols ? from + kActivationPiece : a.cols;
    for (int64_t c = from; c < to; c++) {
      const double up = a.up != nullptr ? a.up[row * a.up_stride + c] : 1.0;
      a.y[row * a.y_stride + c] = static_cast<float>(apply(a.kind, a.x[row * a.x_stride + c]) * up);
    }
  }
}

}  // namespace

const ActivationKernels activation = {activate};

}  // namespace ref
}  // namespace nm
