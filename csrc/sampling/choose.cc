// Every cut keeps a prefix of the tokens in order of falling probability, so only as many tokens are sorted as the cuts
// and the draw reach: top_k, or 1 K, 16 K and all of the vocabulary in turn.
#include "sampling/choose.h"

#include <algorithm>
#include <cmath>

namespace nm {
namespace {

constexpr int64_t kBlock = 1024;

bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/** The n best tokens in order; fewer where fewer have a logit above -inf. */
int64_t best(const SamplingKernels& kernels, const float* x, int64_t vocab, int64_t n, Candidate* out) {
  float threshold = -HUGE_VALF;
  int64_t count = 0;
  int32_t ids[kBlock];
  const auto cut = [&] {
    std::nth_element(out, out + n - 1, out + count, before);
    count = n;
  };
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, vocab);
    const int64_t found = kernels.above(x, begin, end, threshold, ids);
    for (int64_t i = 0; i < found; i++) out[count++] = {x[ids[i]], ids[i]};
    if (count >= 2 * std::max(n, kBlock)) {
      cut();
      threshold = out[n - 1].logit;  // an equal one that comes later has a larger id
    }
  }
  if (count > n) cut();
  std::sort(out, out + count, before);
  return count;
}

/** Sum of exp((x - largest) / temperature) over what is a number; the kernel gives NaN for a row with NaN or +inf. */
double total_weight(const SamplingKernels& kernels, const float* x, int64_t n, float largest, float temperature) {
  const double fast = kernels.sum_exp(x, n, largest, temperature);
  if (!std::isnan(fast)) return fast;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    if (x[i] == largest)
      sum += 1.0;
    else if (x[i] < largest)
      sum += std::exp((static_cast<double>(x[i]) - largest) / temperature);
  }
  return sum;
}

/** Relative to the most probable token. */
double weight(float logit, float largest, float temperature) {
  return logit == largest ? 1.0 : std::exp((static_cast<double>(logit) - largest) / temperature);
}

/** The token drawn among sorted candidates; -1 when cuts or draw reach beyond them and there are more. */
int32_t draw(const nm_sample_args& a, float uniform, const Candidate* sorted, int64_t count, bool more, double total) {
  const float largest = sorted[0].logit;
  double mass = 0;
  int64_t kept = 0;
  bool cut = false;
  while (kept < count && !cut) {
    const double w = weight(sorted[kept].logit, largest, a.temperature);
    if (w < a.min_p) break;
    mass += w;
    kept++;
    cut = a.top_p < 1 && mass >= a.top_p * total;
  }
  const bool reached = cut || kept < count || !more;
  if (!reached && (a.top_p < 1 || a.min_p > 0)) return -1;
  const double target = uniform * (reached ? mass : total);
  double below = 0;
  for (int64_t i = 0; i < kept; i++) {
    below += weight(sorted[i].logit, largest, a.temperature);
    if (below > target) return sorted[i].id;
  }
  return reached ? sorted[kept - 1].id : -1;
}

int32_t draw_row(const SamplingKernels& kernels, const nm_sample_args& a, const float* x, float uniform, float largest,
                 Candidate* work) {
  const int64_t vocab = a.vocab;
  if (a.top_k > 0 && a.top_k < vocab) {
    const int64_t count = best(kernels, x, vocab, a.top_k, work);
    double total = 0;
    for (int64_t i = 0; i < count; i++) total += weight(work[i].logit, largest, a.temperature);
    return draw(a, uniform, work, count, false, total);
  }
  const double total = total_weight(kernels, x, vocab, largest, a.temperature);
  for (int64_t n = kBlock;; n *= 16) {
    const int64_t asked = std::min(n, vocab);
    const int64_t count = best(kernels, x, vocab, asked, work);
    const int32_t id = draw(a, uniform, work, count, count == asked && asked < vocab, total);
    if (id >= 0) return id;
  }
}

}  // namespace

int64_t choose_work(const nm_sample_args& args) { return args.temperature == 0 ? 0 : args.vocab; }

void choose(const SamplingKernels& kernels, const nm_sample_args& a, int64_t row, Candidate* work) {
  const float* x = a.logits + row * a.logits_stride;
  int64_t index = 0;
  const float largest = kernels.largest(x, a.vocab, &index);
  int32_t id = static_cast<int32_t>(index);
  if (largest == -HUGE_VALF)
    id = -1;
  else if (a.temperature > 0)
    id = draw_row(kernels, a, x, a.uniform[row], largest, work);
  a.ids[row] = id;
  if (a.logprobs == nullptr || id < 0) return;
  const double above = x[id] == largest ? 0.0 : static_cast<double>(x[id]) - largest;
  a.logprobs[row] = static_cast<float>(above - std::log(total_weight(kernels, x, a.vocab, largest, 1.0f)));
}

double row_nll(const SamplingKernels& kernels, const float* x, int64_t vocab, int64_t target) {
  int64_t index = 0;
  const float largest = kernels.largest(x, vocab, &index);
  return std::log(kernels.sum_exp(x, vocab, largest, 1.0f)) - (static_cast<double>(x[target]) - largest);
}

}  // namespace nm
