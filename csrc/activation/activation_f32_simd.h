// Activations on vectors; the functions themselves are in core/simd_math.h.
#include "activation/activation.h"
#include "core/simd_math.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;

inline Vec relu(Vec x) { return Vec::where_less(x, Vec::zero(), Vec::zero(), x); }

/** y = f(x) * up over n elements. */
template <class F>
void apply(const float* x, const float* up, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + N <= n; i += N) {
    const Vec v = f(Vec::load(x + i));
    (up != nullptr ? v * Vec::load(up + i) : v).store(y + i);
  }
  const int rest = static_cast<int>(n - i);
  if (rest > 0) {
    const Vec v = f(Vec::load(x + i, rest));
    (up != nullptr ? v * Vec::load(up + i, rest) : v).store(y + i, rest);
  }
}

void activate(const nm_activation_args& a, int64_t begin, int64_t end) {
  const int64_t pieces = (a.cols + kActivationPiece - 1) / kActivationPiece;
  for (int64_t item = begin; item < end; item++) {
    const int64_t row = item / pieces, from = item % pieces * kActivationPiece;
    const int64_t n = a.cols - from < kActivationPiece ? a.cols - from : kActivationPiece;
    const float* x = a.x + row * a.x_stride + from;
    const float* up = a.up != nullptr ? a.up + row * a.up_stride + from : nullptr;
    float* y = a.y + row * a.y_stride + from;
    switch (a.kind) {
      case NM_SILU:
        apply(x, up, y, n, silu);
        break;
      case NM_GELU:
        apply(x, up, y, n, gelu);
        break;
      case NM_GELU_TANH:
        apply(x, up, y, n, gelu_tanh);
        break;
      default:
        apply(x, up, y, n, relu);
    }
  }
}

}  // namespace

const ActivationKernels activation = {activate};

}  // namespace NM_TIER
}  // namespace nm
