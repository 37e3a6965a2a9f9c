#include "sampling/sampling.h"

#include <cmath>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"
#include "sampling/choose.h"

namespace nm {
namespace {

constexpr int64_t kChunkElements = 1 << 16;  // some 20 us of exponentials

int64_t grain_of(int64_t cols) { return kChunkElements / cols + 1; }

void check_temperature(float temperature, bool zero_too) {
  if (!std::isfinite(temperature) || temperature < 0 || (temperature == 0 && !zero_too))
    fail(NM_ERR_ARGUMENT, "temperature: got %g, expected a finite number %s 0", static_cast<double>(temperature),
         zero_too ? ">=" : ">");
}

void check_sample(const nm_sample_args& a) {
  check_temperature(a.temperature, true);
  if (!(a.top_p > 0 && a.top_p <= 1))
    fail(NM_ERR_ARGUMENT, "top_p: got %g, expected above 0, at most 1", static_cast<double>(a.top_p));
  if (!(a.min_p >= 0 && a.min_p <= 1))
    fail(NM_ERR_ARGUMENT, "min_p: got %g, expected 0..1", static_cast<double>(a.min_p));
  check_range("top_k", a.top_k, 0, INT64_MAX);
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("vocab", a.vocab, 1, INT32_MAX);
  check_matrix("logits", a.logits, a.rows, a.vocab, a.logits_stride);
  check_array("ids", a.ids, a.rows);
  if (a.logprobs != nullptr) check_array("logprobs", a.logprobs, a.rows);
  check_array("cancel", a.cancel, 0);
  if (a.temperature == 0) return;
  check_array("uniform", a.uniform, a.rows);
  for (int64_t r = 0; r < a.rows; r++)
    if (!(a.uniform[r] >= 0 && a.uniform[r] < 1))
      fail(NM_ERR_ARGUMENT, "uniform[%lld]: got %g, expected at least 0, below 1", static_cast<long long>(r),
           static_cast<double>(a.uniform[r]));
}

}  // namespace

void softmax(Engine& engine, const nm_softmax_args& a) {
  check_temperature(a.temperature, false);
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("cols", a.cols, 1, kMaxBytes);
  check_matrix("x", a.x, a.rows, a.cols, a.x_stride);
  check_matrix("y", a.y, a.rows, a.cols, a.y_stride);
  if (a.x == a.y && a.rows > 1 && a.x_stride != a.y_stride)
    fail(NM_ERR_ARGUMENT, "y_stride: got %lld, expected x_stride (%lld), since y is x",
         static_cast<long long>(a.y_stride), static_cast<long long>(a.x_stride));
  check_array("cancel", a.cancel, 0);
  const auto kernel = engine.kernels().sampling->softmax;
  engine.parallel_for(a.rows, grain_of(a.cols), a.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) kernel(a.x + r * a.x_stride, a.cols, a.temperature, a.y + r * a.y_stride);
  });
}

void sample(Engine& engine, const nm_sample_args& a) {
  check_sample(a);
  const SamplingKernels& kernels = *engine.kernels().sampling;
  for (int w = 0; w < engine.threads(); w++) engine.work(w).get<Candidate>(choose_work(a));
  engine.parallel_for(a.rows, grain_of(a.vocab), a.cancel, [&](int64_t begin, int64_t end, int worker) {
    Candidate* work = engine.work(worker).get<Candidate>(choose_work(a));
    for (int64_t r = begin; r < end; r++) choose(kernels, a, r, work);
  });
  for (int64_t r = 0; r < a.rows; r++)
    if (a.ids[r] < 0)
      fail(NM_ERR_ARGUMENT, "logits[%lld]: no number above -inf among %lld", static_cast<long long>(r),
           static_cast<long long>(a.vocab));
}

void nll(Engine& engine, const nm_nll_args& a) {
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("vocab", a.vocab, 1, INT32_MAX);
  check_matrix("logits", a.logits, a.rows, a.vocab, a.logits_stride);
  check_array("targets", a.targets, a.rows);
  check_array("nll", a.nll, a.rows);
  check_array("cancel", a.cancel, 0);
  for (int64_t r = 0; r < a.rows; r++)
    if (a.targets[r] < 0 || a.targets[r] >= a.vocab)
      fail(NM_ERR_ARGUMENT, "targets[%lld]: got %d, expected 0..%lld", static_cast<long long>(r), a.targets[r],
           static_cast<long long>(a.vocab - 1));
  const SamplingKernels& kernels = *engine.kernels().sampling;
  engine.parallel_for(a.rows, grain_of(a.vocab), a.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++)
      a.nll[r] = row_nll(kernels, a.logits + r * a.logits_stride, a.vocab, a.targets[r]);
  });
}

}  // namespace nm
