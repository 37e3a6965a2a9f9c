// How far the distributions of one model are from those of another.
#include <cmath>

#include "core/check.h"
#include "core/engine.h"
#include "sampling/sampling.h"

namespace nm {
namespace {

constexpr int64_t kChunkElements = 1 << 15;  // four exponentials an element

Normalizer normalizer(const SamplingKernels& kernels, const float* x, int64_t n, int32_t* top) {
  int64_t index = 0;
  const float largest = kernels.largest(x, n, &index);
  if (top != nullptr) *top = static_cast<int32_t>(index);
  const double sum = kernels.sum_exp(x, n, largest, 1.0f);
  return {largest, sum, std::log(sum)};
}

bool usable(Normalizer a) { return std::isfinite(a.largest) && std::isfinite(a.sum); }

}  // namespace

void kl(Engine& engine, const nm_kl_args& a) {
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("vocab", a.vocab, 1, INT32_MAX);
  check_matrix("reference", a.reference, a.rows, a.vocab, a.reference_stride);
  check_matrix("logits", a.logits, a.rows, a.vocab, a.logits_stride);
  check_array("kl", a.kl, a.rows);
  if (a.top_reference != nullptr) check_array("top_reference", a.top_reference, a.rows);
  if (a.top != nullptr) check_array("top", a.top, a.rows);
  check_array("cancel", a.cancel, 0);
  const SamplingKernels& kernels = *engine.kernels().sampling;
  engine.parallel_for(a.rows, kChunkElements / a.vocab + 1, a.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float *x = a.reference + r * a.reference_stride, *y = a.logits + r * a.logits_stride;
      const Normalizer p = normalizer(kernels, x, a.vocab, a.top_reference == nullptr ? nullptr : a.top_reference + r);
      const Normalizer q = normalizer(kernels, y, a.vocab, a.top == nullptr ? nullptr : a.top + r);
      a.kl[r] = usable(p) && usable(q) ? kernels.divergence(x, p, y, q, a.vocab) : NAN;
    }
  });
}

}  // namespace nm
