// The choice of one row's token, and its log probability.
#pragma once

#include <cstdint>

#include "sampling/sampling.h"

namespace nm {

/** A logit and its token. */
struct Candidate {
  float logit;
  int32_t id;
};

/** Candidates of work memory that `choose` needs. */
int64_t choose_work(const nm_sample_args& args);

/** Sets ids[row] and logprobs[row]; ids[row] = -1 where no logit is above -inf. */
void choose(const SamplingKernels& kernels, const nm_sample_args& args, int64_t row, Candidate* work);

double row_nll(const SamplingKernels& kernels, const float* logits, int64_t vocab, int64_t target);

}  // namespace nm
