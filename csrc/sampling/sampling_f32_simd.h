// Softmax and the scans of a row of logits, on vectors.
#include "core/simd_math.h"
#include "sampling/sampling.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;
constexpr float kMinusInfinity = -__builtin_inff();

/** NaN counts as -inf: max gives its second operand when the first is NaN. */
float row_largest(const float* x, int64_t n) {
  const Vec least = Vec::all(kMinusInfinity);
  Vec m0 = least, m1 = least, m2 = least, m3 = least;
  int64_t i = 0;
  for (; i + 4 * N <= n; i += 4 * N) {
    m0 = Vec::max(Vec::load(x + i), m0);
    m1 = Vec::max(Vec::load(x + i + N), m1);
    m2 = Vec::max(Vec::load(x + i + 2 * N), m2);
    m3 = Vec::max(Vec::load(x + i + 3 * N), m3);
  }
  for (; i + N <= n; i += N) m0 = Vec::max(Vec::load(x + i), m0);
  float best = Vec::max(Vec::max(m0, m1), Vec::max(m2, m3)).largest();
  for (; i < n; i++)
    if (x[i] > best) best = x[i];
  return best;
}

float largest(const float* x, int64_t n, int64_t* index) {
  const float best = row_largest(x, n);
  *index = 0;
  if (best == kMinusInfinity) return best;
  // The first block that holds the largest, then the element in it.
  const Vec b = Vec::all(best), one = Vec::all(1.0f);
  int64_t i = 0;
  while (i + 4 * N <= n) {
    Vec below = one;
    for (int64_t j = 0; j < 4; j++) below = below * Vec::where_less(Vec::load(x + i + j * N), b, one, Vec::zero());
    if (below.sum() != static_cast<float>(N)) break;
    i += 4 * N;
  }
  while (x[i] != best) i++;
  *index = i;
  return best;
}

/**
 * Sums exp((x - largest) / temperature) and, where y is not NULL, keeps the terms there. Blocks of 1024 terms in four
 * float32 accumulators, blocks in float64. x - largest comes first: dividing two large logits would round each of them.
 */
double sum_terms(const float* x, int64_t n, float largest, float temperature, float* y) {
  // A temperature whose inverse overflows is as good as the least normal number.
  const Vec m = Vec::all(largest), t = Vec::all(1.0f / (temperature < 1.2e-38f ? 1.2e-38f : temperature));
  const auto term = [&](Vec v) { return exp((v - m) * t); };
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 1024) {
    const int64_t end = n - begin < 1024 ? n : begin + 1024;
    Vec s[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
    int64_t i = begin;
    for (; i + 4 * N <= end; i += 4 * N) {
      for (int j = 0; j < 4; j++) {
        const Vec e = term(Vec::load(x + i + j * N));
        s[j] = s[j] + e;
        if (y != nullptr) e.store(y + i + j * N);
      }
    }
    for (; i < end; i += N) {
      const int rest = end - i < N ? static_cast<int>(end - i) : static_cast<int>(N);
      float part[N] = {};
      term(Vec::load(x + i, rest)).store(part, rest);
      const Vec e = Vec::load(part);
      s[0] = s[0] + e;
      if (y != nullptr) e.store(y + i, rest);
    }
    total += static_cast<double>(((s[0] + s[1]) + (s[2] + s[3])).sum());
  }
  return total;
}

double sum_exp(const float* x, int64_t n, float largest, float temperature) {
  return sum_terms(x, n, largest, temperature, nullptr);
}

void softmax(const float* x, int64_t n, float temperature, float* y) {
  const double sum = sum_terms(x, n, row_largest(x, n), temperature, y);
  const Vec inverse = Vec::all(static_cast<float>(1.0 / sum));
  int64_t i = 0;
  for (; i + N <= n; i += N) (Vec::load(y + i) * inverse).store(y + i);
  const int rest = static_cast<int>(n - i);
  if (rest > 0) (Vec::load(y + i, rest) * inverse).store(y + i, rest);
}

int64_t above(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out) {
  const Vec t = Vec::all(threshold);
  int64_t count = 0, i = begin;
  for (; i + N <= end; i += N) {
    uint32_t hits = Vec::greater(Vec::load(x + i), t);
    for (; hits != 0; hits &= hits - 1) out[count++] = static_cast<int32_t>(i) + __builtin_ctz(hits);
  }
  for (; i < end; i++)
    if (x[i] > threshold) out[count++] = static_cast<int32_t>(i);
  return count;
}

/** e^-d - 1 + d for |d| < 1/2, by its series: what it leaves is below 5e-8 of the sum. */
Vec excess(Vec d) {
  Vec s = Vec::all(-1.0f / 362880);
  s = Vec::fma(s, d, Vec::all(1.0f / 40320));
  s = Vec::fma(s, d, Vec::all(-1.0f / 5040));
  s = Vec::fma(s, d, Vec::all(1.0f / 720));
  s = Vec::fma(s, d, Vec::all(-1.0f / 120));
  s = Vec::fma(s, d, Vec::all(1.0f / 24));
  s = Vec::fma(s, d, Vec::all(-1.0f / 6));
  s = Vec::fma(s, d, Vec::all(0.5f));
  return d * d * s;
}

/**
 * With d = log p - log q, KL = sum of p d = sum of p (d + e^-d - 1), since p e^-d = q and both p and q sum up to 1. No
 * term of the second form is negative, and an error in the normalizers counts by its square: so float32 terms keep the
 * divergence of two nearly equal rows, which the first form would lose. p and q are relative to the largest of each; the
 * part of the sum that is q has its own scale.
 */
double divergence(const float* x, Normalizer p, const float* y, Normalizer q, int64_t n) {
  const Vec offset = Vec::all(static_cast<float>((p.largest + p.log_sum) - (q.largest + q.log_sum)));
  const Vec px = Vec::all(static_cast<float>(p.largest)), qy = Vec::all(static_cast<float>(q.largest));
  const Vec p_scale = Vec::all(static_cast<float>(1 / p.sum)), q_scale = Vec::all(static_cast<float>(1 / q.sum));
  const Vec zero = Vec::zero(), one = Vec::all(1.0f), half = Vec::all(0.5f);
  const auto term = [&](Vec a, Vec b) {
    const Vec pa = exp(a - px) * p_scale, qb = exp(b - qy) * q_scale;
    const Vec d = (a - b) - offset;
    const Vec far = Vec::where_less(zero, pa, pa * (d - one), zero) + qb;
    return Vec::where_less(Vec::abs(d), half, pa * excess(d), far);
  };
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += 1024) {
    const int64_t end = n - begin < 1024 ? n : begin + 1024;
    Vec s0 = zero, s1 = zero;
    int64_t i = begin;
    for (; i + 2 * N <= end; i += 2 * N) {
      s0 = s0 + term(Vec::load(x + i), Vec::load(y + i));
      s1 = s1 + term(Vec::load(x + i + N), Vec::load(y + i + N));
    }
    for (; i < end; i += N) {
      const int rest = end - i < N ? static_cast<int>(end - i) : static_cast<int>(N);
      float part[N] = {};
      if (rest < N)
        term(Vec::load(x + i, rest), Vec::load(y + i, rest)).store(part, rest);
      else
        term(Vec::load(x + i), Vec::load(y + i)).store(part);
      s0 = s0 + Vec::load(part);
    }
    total += static_cast<double>((s0 + s1).sum());
  }
  return total > 0 ? total : total < 0 ? 0 : total;  // a NaN stays
}

}  // namespace

const SamplingKernels sampling = {softmax, largest, sum_exp, above, divergence};

}  // namespace NM_TIER
}  // namespace nm
