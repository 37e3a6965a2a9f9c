// Softmax, the choice of the next token, and what evaluation is made of: negative log-likelihoods and divergences.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** What makes a softmax of a row: its largest logit, the sum of exp(x - largest), and that sum's logarithm. */
struct Normalizer {
  double largest, sum, log_sum;
};

/** Functions over one row of n logits, on one thread. */
struct SamplingKernels {
  /** y = softmax(x / temperature); y may be x. A NaN or +inf makes the whole row NaN, as does a row of -inf. */
  void (*softmax)(const float* x, int64_t n, float temperature, float* y);
  /** The largest element and the smallest index that holds it; NaN counts as -inf. */
  float (*largest)(const float* x, int64_t n, int64_t* index);
  /** Sum of exp((x[i] - largest) / temperature) in float64; NaN where an x[i] is NaN or +inf, or all are -inf. */
  double (*sum_exp)(const float* x, int64_t n, float largest, float temperature);
  /** Writes, in order, the i of [begin, end) with x[i] > threshold; returns how many. `out` has room for all. */
  int64_t (*above)(const float* x, int64_t begin, int64_t end, float threshold, int32_t* out);
  /** Divergence of softmax(y), normalized by q, from softmax(x), normalized by p; both sums are finite. */
  double (*divergence)(const float* x, Normalizer p, const float* y, Normalizer q, int64_t n);
};

namespace ref {
extern const SamplingKernels sampling;
}
namespace avx2 {
extern const SamplingKernels sampling;
}
namespace avx512 {
extern const SamplingKernels sampling;
}
namespace neon {
extern const SamplingKernels sampling;
}

void softmax(Engine& engine, const nm_softmax_args& args);

/** A NaN logit is never chosen; a row without any number above -inf is NM_ERR_ARGUMENT. */
void sample(Engine& engine, const nm_sample_args& args);

/** A NaN or +inf anywhere in a row makes its nll NaN; a target of logit -inf gives +inf. */
void nll(Engine& engine, const nm_nll_args& args);

/** A NaN or +inf anywhere in one of a row's two makes its kl NaN; a probability that becomes 0 makes it +inf. */
void kl(Engine& engine, const nm_kl_args& args);

}  // namespace nm
