// The oracle: plain loops, sums in float64.
#include <cmath>

#include "sampling/sampling.h"

namespace nm {
namespace ref {
namespace {

void softmax(const float* x, int64_t n, float temperature, float* y) {
  double largest = -HUGE_VAL, sum = 0;
  for (int64_t i = 0; i < n; i++)
    if (x[i] > largest) largest = x[i];
  for (int64_t i = 0; i < n; i++) sum += std::exp((x[i] - largest) / temperature);
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(std::exp((x[i] - largest) / temperature) / sum);
}

float largest(const float* x, int64_t n, int64_t* index) {
  float best = -HUGE_VALF;
  *index = 0;
  for (int64_t i = 0; i < n; i++) {
    if (x[i] > best) {
      best = x[i];
      *index = i;
    }
  }
  return best;
}

double sum_exp(const float* x, int64_t n, float largest, float temperature) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += std::exp((static_cast<double>(x[i]) - largest) / temperature);
  return sum;
}

int64_t above(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out) {
  int64_t count = 0;
  for (int64_t i = begin; i < end; i++)
    if (x[i] > threshold) out[count++] = static_cast<int32_t>(i);
  return count;
}

double divergence(const float* x, Normalizer p, const float* y, Normalizer q, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const double lp = x[i] - p.largest - p.log_sum, lq = y[i] - q.largest - q.log_sum;
    if (std::exp(lp) > 0) sum += std::exp(lp) * (lp - lq);
  }
  return sum > 0 ? sum : 0;  // rounding may leave less
}

}  // namespace

const SamplingKernels sampling = {softmax, largest, sum_exp, above, divergence};

}  // namespace ref
}  // namespace nm
