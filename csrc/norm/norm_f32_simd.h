// Norms on vectors: float32 sums in four accumulators, so that the error of a sum grows with cols / (4 Vec::N).
#include "core/simd.h"
#include "norm/norm.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;

/** f(i, vector of the elements from i, zeros behind the end) for all of x, each into one of four sums in turn. */
template <class F>
float sum_of(const float* x, int64_t cols, F f) {
  Vec s0 = Vec::zero(), s1 = s0, s2 = s0, s3 = s0;
  int64_t c = 0;
  for (; c + 4 * N <= cols; c += 4 * N) {
    s0 = f(s0, Vec::load(x + c));
    s1 = f(s1, Vec::load(x + c + N));
    s2 = f(s2, Vec::load(x + c + 2 * N));
    s3 = f(s3, Vec::load(x + c + 3 * N));
  }
  for (; c + N <= cols; c += N) s0 = f(s0, Vec::load(x + c));
  float sum = ((s0 + s1) + (s2 + s3)).sum();
  if (c < cols) {  // lanes behind the end must not count as (0 - mean)^2
    float part[N] = {};
    f(Vec::zero(), Vec::load(x + c, static_cast<int>(cols - c))).store(part, static_cast<int>(cols - c));
    sum += Vec::load(part).sum();
  }
  return sum;
}

/** y = (x - mean) * inverse * weight + bias */
void scale(const float* x, const nm_norm_args& a, float mean, float inverse, float* y) {
  const Vec m = Vec::all(mean), s = Vec::all(inverse);
  const auto one = [&](Vec v, Vec w, Vec b) { return Vec::fma((v - m) * s, w, b); };
  const Vec ones = Vec::all(1.0f), none = Vec::zero();
  int64_t c = 0;
  for (; c + N <= a.cols; c += N)
    one(Vec::load(x + c), a.weight != nullptr ? Vec::load(a.weight + c) : ones,
        a.bias != nullptr ? Vec::load(a.bias + c) : none)
        .store(y + c);
  const int rest = static_cast<int>(a.cols - c);
  if (rest > 0)
    one(Vec::load(x + c, rest), a.weight != nullptr ? Vec::load(a.weight + c, rest) : ones,
        a.bias != nullptr ? Vec::load(a.bias + c, rest) : none)
        .store(y + c, rest);
}

float inverse_root(float mean_square, float eps) { return 1.0f / __builtin_sqrtf(mean_square + eps); }

void rms(const nm_norm_args& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    const float* x = a.x + i / a.groups * a.x_stride + i % a.groups * a.cols;
    float* y = a.y + i / a.groups * a.y_stride + i % a.groups * a.cols;
    const float squares = sum_of(x, a.cols, [](Vec sum, Vec v) { return Vec::fma(v, v, sum); });
    scale(x, a, 0.0f, inverse_root(squares / static_cast<float>(a.cols), a.eps), y);
  }
}

void layer(const nm_norm_args& a, int64_t begin, int64_t end) {
  const float n = static_cast<float>(a.cols);
  for (int64_t i = begin; i < end; i++) {
    const float* x = a.x + i / a.groups * a.x_stride + i % a.groups * a.cols;
    float* y = a.y + i / a.groups * a.y_stride + i % a.groups * a.cols;
    const float mean = sum_of(x, a.cols, [](Vec sum, Vec v) { return sum + v; }) / n;
    const Vec m = Vec::all(mean);
    const float squares = sum_of(x, a.cols, [m](Vec sum, Vec v) { return Vec::fma(v - m, v - m, sum); });
    scale(x, a, mean, inverse_root(squares / n, a.eps), y);
  }
}

}  // namespace

const NormKernels norm = {rms, layer};

}  // namespace NM_TIER
}  // namespace nm
