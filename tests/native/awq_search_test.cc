// AWQ's inner loops: what a candidate scale leaves of a weight, bit for bit what nm_rtn and nm_dequantize make of it; and
// the clip search against one in float64 that goes over the tokens themselves.
#include <algorithm>
#include <cmath>
#include <limits>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

struct Case {
  int32_t bits;
  int64_t n, k, group;
  bool sym;
  int32_t type;
};

const Case kCases[] = {{4, 5, 128, 32, true, NM_F16},   {4, 67, 172, 64, false, NM_F16},
                       {8, 4, 100, 100, false, NM_F32}, {3, 7, 67, 33, false, NM_BF16},
                       {2, 1, 1, 1, false, NM_F32},     {4, 65, 95, 128 - 33, false, NM_F32},
                       {4, 3, 50, 7, true, NM_F16}};

int64_t triangle(int64_t k) {
  const int64_t strips = (k + 47) / 48;
  return 1152 * strips * (strips + 1);
}

template <class Args>
Args args_of(const Case& t, int64_t stride) {
  Args a = args<Args>();
  a.bits = t.bits;
  a.sym = t.sym;
  a.scale_type = t.type;
  a.n = t.n;
  a.k = t.k;
  a.group_size = t.group;
  a.w_stride = stride;
  return a;
}

void fill(const Guarded<float>& w, uint64_t seed) {
  Random random(seed);
  for (float& x : w) x = random.normal() * (random.below(20) == 0 ? 0.4f : 0.05f);
}

/** y = w as rounded; through nm_rtn and nm_dequantize. */
std::vector<float> rounded(const TestEngine& engine, const Case& t, const std::vector<float>& w) {
  const int64_t groups = (t.k - 1) / t.group + 1;
  std::vector<uint8_t> codes(static_cast<size_t>(t.n * t.k)), zeros(static_cast<size_t>(groups * t.n));
  std::vector<float> scales(zeros.size()), y(codes.size());
  nm_codes c = args<nm_codes>();
  c.bits = t.bits;
  c.n = t.n;
  c.k = t.k;
  c.group_size = t.group;
  c.codes = codes.data();
  c.scales = scales.data();
  c.zeros = zeros.data();
  nm_rtn_args rtn = args<nm_rtn_args>();
  rtn.sym = t.sym;
  rtn.scale_type = t.type;
  rtn.w = w.data();
  rtn.w_stride = t.k;
  rtn.out = &c;
  NM_OK_CALL(nm_rtn(engine, &rtn));
  nm_dequantize_args back = args<nm_dequantize_args>();
  back.in = &c;
  back.w = y.data();
  back.w_stride = t.k;
  NM_OK_CALL(nm_dequantize(engine, &back));
  return y;
}

}  // namespace

NM_TEST(awq_round_is_rtn_of_the_scaled_weight_divided_by_the_scale) {
  for (const Case& t : kCases)
    for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
      const int64_t stride = t.n == 1 ? t.k : t.k + 2;
      Guarded<float> w((t.n - 1) * stride + t.k, edge), scale(t.k, edge);
      fill(w, 7);
      Random random(8);
      for (float& s : scale) s = random.uniform(0.1f, 9.0f);
      std::vector<float> scaled;
      for (int64_t n = 0; n < t.n; n++)
        for (int64_t k = 0; k < t.k; k++) scaled.push_back(w[n * stride + k] * scale[k]);
      nmtest::on_every_tier([&](const TestEngine& engine) {
        std::vector<float> want = rounded(engine, t, scaled);
        for (size_t i = 0; i < want.size(); i++) want[i] /= scale[static_cast<int64_t>(i) % t.k];
        Guarded<float> y(t.n * t.k, edge);
        auto a = args_of<nm_awq_round_args>(t, stride);
        a.w = w.data();
        a.scale = scale.data();
        a.y = y.data();
        a.y_stride = t.k;
        NM_OK_CALL(nm_awq_round(engine, &a));
        nmtest::check_same_bits(engine.tier_name(), y.data(), want.data(), t.n * t.k);
      });
    }
}

namespace {

/** Inputs of a module, their Gram matrix, and the errors of a clipped group over the tokens themselves. */
struct Inputs {
  Inputs(int64_t k, Edge edge) : gram(triangle(k), edge), scale(k, edge), k_(k), x_(static_cast<size_t>(kTokens * k)) {
    Random random(static_cast<uint64_t>(k));
    for (float& s : scale) s = random.uniform(0.2f, 4.0f);
    for (size_t i = 0; i < x_.size(); i++)
      x_[i] = random.normal() * (1 + static_cast<float>(i % 5)) + (i % 3 == 0 ? 0.5f : 0.0f);
    nm_gram_args a = args<nm_gram_args>();
    a.t = kTokens;
    a.k = k;
    a.x = x_.data();
    a.x_stride = k;
    a.gram = gram.data();
    const TestEngine engine(NM_TIER_REFERENCE, 1);
    NM_OK_CALL(nm_gram(engine, &a));
  }

  /** Sum over tokens of (sum over the group of x / scale * (y - w))^2. */
  double error(const float* w, const float* y, int64_t first, int64_t count, bool scaled) const {
    double sum = 0;
    for (int64_t t = 0; t < kTokens; t++) {
      double out = 0;
      for (int64_t i = 0; i < count; i++) {
        const double x =
            double{x_[static_cast<size_t>(t * k_ + first + i)]} / (scaled ? double{scale[first + i]} : 1.0);
        out += x * (double{y[i]} - double{w[i]});
      }
      sum += out * out;
    }
    return sum;
  }

  const Guarded<double> gram;
  const Guarded<float> scale;

 private:
  static constexpr int64_t kTokens = 37;
  const int64_t k_;
  std::vector<float> x_;
};

}  // namespace

namespace {

/** A group of a row cut at one of the ten limits, and what its rounding then costs. */
struct Cut {
  std::vector<float> w;
  double error;
};

std::vector<Cut> cuts(const Case& t, const Inputs& inputs, bool scaled, const float* from, int64_t k) {
  static const TestEngine reference(NM_TIER_REFERENCE, 1);  // nm_rtn gives the same bits on every tier
  const int64_t count = std::min(t.group, t.k - k);
  float most = 0;
  for (int64_t i = 0; i < count; i++) most = std::max(most, std::fabs(from[i]));
  std::vector<Cut> all;
  for (int i = 0; i < 10; i++) {
    const float limit = most * (1 - static_cast<float>(i) / 20);
    std::vector<float> cut(from, from + count);
    for (float& x : cut) x = std::clamp(x, -limit, limit);
    const std::vector<float> y = rounded(reference, {t.bits, 1, count, count, t.sym, t.type}, cut);
    const double error = inputs.error(from, y.data(), k, count, scaled);
    all.push_back({cut, error});
  }
  return all;
}

}  // namespace

NM_TEST(awq_clip_finds_the_limit_with_the_least_error_over_all_tokens) {
  for (const Case& t : kCases)
    for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
      const int64_t stride = t.n == 1 ? t.k : t.k + 2;
      const Inputs inputs(t.k, edge);
      const bool scaled = t.n % 2 == 1;
      Guarded<float> w((t.n - 1) * stride + t.k, edge), got(w.size(), edge);
      fill(w, 9);
      std::vector<std::vector<Cut>> groups;  // row after row
      for (int64_t n = 0; n < t.n; n++)
        for (int64_t k = 0; k < t.k; k += t.group)
          groups.push_back(cuts(t, inputs, scaled, w.data() + n * stride + k, k));
      int clipped = 0;
      nmtest::on_every_tier([&](const TestEngine& engine) {
        std::copy(w.begin(), w.end(), got.begin());
        auto a = args_of<nm_awq_clip_args>(t, stride);
        a.gram = inputs.gram.data();
        a.scale = scaled ? inputs.scale.data() : nullptr;
        a.w = got.data();
        NM_OK_CALL(nm_awq_clip(engine, &a));
        auto group = groups.begin();
        for (int64_t n = 0; n < t.n; n++)
          for (int64_t k = 0; k < t.k; k += t.group, group++) {
            double least = std::numeric_limits<double>::infinity(), taken = least;
            for (const Cut& cut : *group) {
              least = std::min(least, cut.error);
              if (std::equal(cut.w.begin(), cut.w.end(), got.data() + n * stride + k))
                taken = std::min(taken, cut.error), clipped += &cut != group->data();
            }
            NM_CHECK_MSG(taken <= least * (1 + 1e-4) + 1e-12,
                         "%s: bits %d K %lld row %lld group at %lld: error %g, least %g", engine.tier_name(), t.bits,
                         static_cast<long long>(t.k), static_cast<long long>(n), static_cast<long long>(k), taken,
                         least);
          }
      });
      NM_CHECK_MSG(clipped > 0 || t.k == 1 || t.bits == 8, "K %lld: nothing was clipped", static_cast<long long>(t.k));
    }
}

NM_TEST(awq_searches_refuse_bad_arguments_by_name) {
  const Case t = {4, 2, 64, 32, true, NM_F16};
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Guarded<float> w(2 * 64), y(2 * 64), scale(64);
    const Guarded<double> gram(triangle(64));
    for (float& s : scale) s = 1;
    auto round = args_of<nm_awq_round_args>(t, 64);
    round.w = w.data();
    round.scale = scale.data();
    round.y = y.data();
    round.y_stride = 64;
    auto clip = args_of<nm_awq_clip_args>(t, 64);
    clip.gram = gram.data();
    clip.scale = scale.data();
    clip.w = w.data();
    NM_OK_CALL(nm_awq_round(engine, &round));
    NM_OK_CALL(nm_awq_clip(engine, &clip));
    scale[63] = 0;
    NM_REFUSED(nm_awq_round(engine, &round), NM_ERR_ARGUMENT, "scale[63]: got 0");
    NM_REFUSED(nm_awq_clip(engine, &clip), NM_ERR_ARGUMENT, "scale[63]: got 0");
    scale[63] = 1;
    w[70] = std::numeric_limits<float>::quiet_NaN();
    NM_REFUSED(nm_awq_round(engine, &round), NM_ERR_ARGUMENT, "w[1,6]: got nan");
    NM_REFUSED(nm_awq_clip(engine, &clip), NM_ERR_ARGUMENT, "w[1,6]: got nan");
    w[70] = 0;
    round.group_size = 65;
    NM_REFUSED(nm_awq_round(engine, &round), NM_ERR_ARGUMENT, "group_size: got 65");
    round.group_size = 32;
    round.y = w.data() + 1;
    NM_REFUSED(nm_awq_round(engine, &round), NM_ERR_ARGUMENT, "y: overlaps w");
    const int32_t cancel = 1;
    clip.cancel = &cancel;
    NM_REFUSED(nm_awq_clip(engine, &clip), NM_ERR_CANCELLED, "cancelled");
  });
}
