// Softmax, sampling and nll against float64. The sampler's oracle sorts the whole vocabulary and cuts as the header says.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::on_every_tier;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> logits(int64_t n, float size, uint64_t seed = 1) {
  Random random(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = size * random.normal();
  return x;
}

nm_sample_args sample_args(const std::vector<float>& x, float temperature, int64_t top_k, float top_p, float min_p,
                           const float* uniform, int32_t* id) {
  nm_sample_args a = args<nm_sample_args>();
  a.temperature = temperature;
  a.top_k = top_k;
  a.top_p = top_p;
  a.min_p = min_p;
  a.rows = 1;
  a.vocab = a.logits_stride = static_cast<int64_t>(x.size());
  a.logits = x.data();
  a.uniform = uniform;
  a.ids = id;
  return a;
}

struct Kept {
  std::vector<int32_t> order;      // by falling probability, equal ones by id
  std::vector<double> cumulative;  // of the kept ones, the last is 1
  double nearest_cut;              // how near a cumulative probability comes to top_p, or a ratio to min_p
};

/** What the header says, to the letter: temperature, the top_k largest, top_p of those, min_p of those. */
Kept keep(const std::vector<float>& x, const nm_sample_args& a) {
  Kept kept;
  kept.order.resize(x.size());
  std::iota(kept.order.begin(), kept.order.end(), 0);
  std::stable_sort(kept.order.begin(), kept.order.end(),
                   [&](int32_t i, int32_t j) { return x[static_cast<size_t>(i)] > x[static_cast<size_t>(j)]; });
  if (a.top_k > 0 && a.top_k < a.vocab) kept.order.resize(static_cast<size_t>(a.top_k));
  const double largest = x[static_cast<size_t>(kept.order[0])];
  std::vector<double> p;
  for (const int32_t i : kept.order) p.push_back(std::exp((x[static_cast<size_t>(i)] - largest) / a.temperature));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  kept.nearest_cut = 1;
  size_t n = p.size();
  if (a.top_p < 1) {
    double sum = 0;
    for (n = 0; n < p.size() && sum < a.top_p * total; n++) {
      sum += p[n];
      kept.nearest_cut = std::min(kept.nearest_cut, std::fabs(sum / total - a.top_p));
    }
  }
  size_t m = 0;
  while (m < n && p[m] >= a.min_p) m++;
  const double mass = std::accumulate(p.begin(), p.begin() + static_cast<int64_t>(m), 0.0);
  kept.order.resize(m);
  double sum = 0;
  for (size_t i = 0; i < m; i++) kept.cumulative.push_back((sum += p[i]) / mass);
  return kept;
}

}  // namespace

namespace {

/** Three rows of logits without gaps, their softmax in float64 and how far a float32 one may be off. */
struct SoftmaxRows {
  SoftmaxRows(int64_t width, float t) : cols(width), temperature(t), x(static_cast<size_t>(3 * cols)) {
    Random random(2);
    for (float& v : x) v = 5 * random.normal() + 100;
    if (cols > 2) x[1] = -kInf;
    for (auto row = x.begin(); row != x.end(); row += cols) add(&*row);
  }

  int64_t cols;
  float temperature;
  std::vector<float> x;
  std::vector<double> want, off;

 private:
  void add(const float* row) {
    const double largest = *std::max_element(row, row + cols);
    const size_t first = want.size();
    double sum = 0, sum_off = 0;
    // (x - largest) / temperature is off by three roundings, the exponential by 2 ulp; sums of 1024 / 32 terms
    // in a lane, then a tree of 8, then float64; the product with the inverse: two more.
    for (int64_t i = 0; i < cols; i++) {
      const double d = (row[i] - largest) / temperature, one = std::exp(d);
      want.push_back(one);
      off.push_back(one > 0 ? nmtest::gamma(3) * std::fabs(d) : 0);
      sum += one;
      sum_off += one * off.back();
    }
    for (size_t i = first; i < want.size(); i++) {
      want[i] /= sum;
      off[i] = want[i] * (off[i] + sum_off / sum + nmtest::gamma(4 + 32 + 8 + 4)) * 1.01 + 1e-44;
    }
  }
};

void check_softmax(const TestEngine& engine, const SoftmaxRows& rows, bool in_place, Edge edge) {
  const int64_t cols = rows.cols, xs = cols + 3, ys = in_place ? xs : cols + 1;
  Guarded<float> x(2 * xs + cols, edge), apart(2 * ys + cols, edge);
  for (int64_t r = 0; r < 3; r++) std::copy_n(rows.x.begin() + r * cols, cols, x.begin() + r * xs);
  nm_softmax_args a = args<nm_softmax_args>();
  a.temperature = rows.temperature;
  a.rows = 3;
  a.cols = cols;
  a.x = x.data();
  a.x_stride = xs;
  a.y = in_place ? x.data() : apart.data();
  a.y_stride = ys;
  NM_OK_CALL(nm_softmax(engine, &a));
  const std::string what = nmtest::text("%s cols=%lld", engine.tier_name(), static_cast<long long>(cols));
  for (int64_t r = 0; r < 3; r++)
    nmtest::check_close(what.c_str(), a.y + r * ys, rows.want.data() + r * cols, cols,
                        [&](int64_t i) { return rows.off[static_cast<size_t>(r * cols + i)]; });
}

}  // namespace

NM_TEST(softmax_equals_float64_for_all_widths_and_temperatures) {
  std::vector<SoftmaxRows> all;
  for (const int64_t cols : {1, 2, 7, 8, 9, 16, 17, 31, 63, 64, 65, 1000, 1023, 1024, 1025, 5001})
    for (const float temperature : {1.0f, 0.3f, 7.0f}) all.emplace_back(cols, temperature);
  on_every_tier([&](const TestEngine& engine) {
    for (const SoftmaxRows& rows : all)
      for (const bool in_place : {false, true})
        for (const Edge edge : {Edge::kEnd, Edge::kStart}) check_softmax(engine, rows, in_place, edge);
  });
}

NM_TEST(softmax_of_huge_logits_is_stable_and_nan_spoils_its_row_only) {
  on_every_tier([&](const TestEngine& engine) {
    std::vector<float> x(2 * 40, 1e4f), y(x.size());
    x[7] = 1e4f + 8;
    x[40 + 35] = kNaN;
    nm_softmax_args a = args<nm_softmax_args>();
    a.temperature = 1;
    a.rows = 2;
    a.cols = a.x_stride = a.y_stride = 40;
    a.x = x.data();
    a.y = y.data();
    NM_OK_CALL(nm_softmax(engine, &a));
    NM_CHECK(std::fabs(y[7] - std::exp(8.0) / (std::exp(8.0) + 39)) < 1e-6);
    for (size_t i = 0; i < 40; i++) NM_CHECK(std::isfinite(y[i]) && std::isnan(y[40 + i]));
    a.temperature = 1e-42f;  // its inverse overflows
    NM_OK_CALL(nm_softmax(engine, &a));
    for (size_t i = 0; i < 40; i++) NM_CHECK(y[i] == (i == 7 ? 1 : 0));
  });
}

NM_TEST(greedy_takes_the_smallest_id_of_the_largest) {
  for (const int64_t vocab : {1, 2, 8, 15, 16, 17, 33, 64, 65, 129, 1000, 50257}) {
    on_every_tier([&](const TestEngine& engine) {
      std::vector<float> plain = logits(vocab, 3, static_cast<uint64_t>(vocab));
      Guarded<float> x(vocab);
      Random random(6);
      for (int trial = 0; trial < 20; trial++) {
        std::copy(plain.begin(), plain.end(), x.begin());
        const int64_t first = random.below(vocab), second = random.below(vocab), third = random.below(vocab);
        if (third != first && third != second) x[third] = kNaN;
        x[first] = x[second] = trial == 0 ? kInf : 50;
        Guarded<int32_t> id(1);
        nm_sample_args a = sample_args(plain, 0, 0, 1, 0, nullptr, id.data());
        a.logits = x.data();
        NM_OK_CALL(nm_sample(engine, &a));
        NM_CHECK_MSG(id[0] == std::min(first, second), "vocab %lld: got %d, expected %lld",
                     static_cast<long long>(vocab), id[0], static_cast<long long>(std::min(first, second)));
      }
    });
  }
}

NM_TEST(draws_follow_the_header_to_the_letter) {
  struct Case {
    int64_t vocab;
    float size, temperature;
    int64_t top_k;
    float top_p, min_p;
  };
  const std::vector<Case> cases = {
      {50, 2, 1, 0, 1, 0},
      {50, 2, 0.7f, 5, 1, 0},
      {50, 2, 1, 0, 0.5f, 0},
      {50, 2, 1, 0, 1, 0.1f},
      {50, 2, 1.3f, 20, 0.9f, 0.05f},
      {50, 2, 1, 1, 1, 0},
      {50, 2, 1, 50, 1, 0},
      {50, 2, 1, 99, 0.99f, 0},
      {50, 2, 1, 0, 1e-6f, 0},
      {50, 2, 1, 0, 1, 1},
      {5000, 1, 1, 0, 1, 0},
      {5000, 1, 1, 40, 1, 0},
      {5000, 0.1f, 1, 0, 0.97f, 0},
      {5000, 4, 1, 3000, 0.8f, 0},
      {40000, 0.1f, 1, 0, 1, 0},
      {40000, 0.5f, 0.9f, 0, 0.95f, 0.2f},
      {40000, 3, 1, 50, 1, 0},
  };
  for (const Case& c : cases) {
    std::vector<float> x = logits(c.vocab, c.size, static_cast<uint64_t>(c.vocab) + 17);
    for (size_t i = 3; i < x.size(); i += 7) x[i] = x[i - 3];  // ties
    for (size_t i = 5; i < x.size(); i += 11) x[i] = -kInf;
    int32_t id;
    float uniform;
    nm_sample_args a = sample_args(x, c.temperature, c.top_k, c.top_p, c.min_p, &uniform, &id);
    const Kept kept = keep(x, a);
    // float32 must not decide a cut of this test
    NM_CHECK_MSG(kept.nearest_cut > 1e-6, "vocab=%lld top_p=%g: %g", static_cast<long long>(c.vocab),
                 static_cast<double>(c.top_p), kept.nearest_cut);
    on_every_tier([&](const TestEngine& engine) {
      Random random(12);
      for (int trial = 0; trial < 40; trial++) {
        uniform = trial == 0 ? 0 : trial == 1 ? std::nextafter(1.0f, 0.0f) : random.uniform(0, 0.9999999f);
        id = -7;
        NM_OK_CALL(nm_sample(engine, &a));
        size_t want = 0;
        while (want + 1 < kept.order.size() && kept.cumulative[want] <= uniform) want++;
        // Where the draw lies within float32's error of a boundary, either neighbour will do.
        const double off = 1e-6;
        size_t low = want, high = want;
        while (low > 0 && uniform - kept.cumulative[low - 1] < off) low--;
        while (high + 1 < kept.order.size() && kept.cumulative[high] - uniform < off) high++;
        bool found = false;
        for (size_t i = low; i <= high; i++) found = found || kept.order[i] == id;
        NM_CHECK_MSG(found, "%s vocab=%lld T=%g top_k=%lld top_p=%g min_p=%g u=%.9g: got %d, expected %d",
                     engine.tier_name(), static_cast<long long>(c.vocab), static_cast<double>(c.temperature),
                     static_cast<long long>(c.top_k), static_cast<double>(c.top_p), static_cast<double>(c.min_p),
                     static_cast<double>(uniform), id, kept.order[want]);
      }
    });
  }
}

NM_TEST(rows_are_independent_and_threads_change_nothing) {
  const int64_t rows = 24, vocab = 9000, stride = vocab + 5;
  std::vector<float> x = logits(rows * stride, 2), uniform;
  Random random(3);
  for (int64_t r = 0; r < rows; r++) uniform.push_back(random.uniform(0, 0.9999f));
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    const TestEngine one(tier, 1), four(tier, 4);
    std::vector<int32_t> a_ids(rows), b_ids(rows);
    std::vector<float> a_log(rows), b_log(rows);
    nm_sample_args a = sample_args(x, 0.8f, 0, 0.95f, 0, uniform.data(), a_ids.data());
    a.rows = rows;
    a.vocab = vocab;
    a.logits_stride = stride;
    a.logprobs = a_log.data();
    NM_OK_CALL(nm_sample(one, &a));
    a.ids = b_ids.data();
    a.logprobs = b_log.data();
    NM_OK_CALL(nm_sample(four, &a));
    NM_CHECK(a_ids == b_ids);
    nmtest::check_same_bits("logprobs", b_log.data(), a_log.data(), rows);
    for (int64_t r = 0; r < rows; r++) {  // the same row alone
      int32_t id;
      float logprob;
      nm_sample_args alone = a;
      alone.rows = 1;
      alone.logits = x.data() + r * stride;
      alone.uniform = uniform.data() + r;
      alone.ids = &id;
      alone.logprobs = &logprob;
      NM_OK_CALL(nm_sample(four, &alone));
      NM_CHECK(id == a_ids[static_cast<size_t>(r)] && logprob == a_log[static_cast<size_t>(r)]);
    }
  }
}

NM_TEST(logprobs_ignore_temperature_and_cuts) {
  std::vector<float> x = logits(3001, 3);
  x[77] = kNaN;  // counts as nothing
  double largest = -HUGE_VAL, sum = 0;
  for (const float v : x)
    if (!std::isnan(v)) largest = std::max<double>(largest, v);
  for (const float v : x)
    if (!std::isnan(v)) sum += std::exp(v - largest);
  on_every_tier([&](const TestEngine& engine) {
    for (const float temperature : {0.0f, 0.5f, 2.0f}) {
      const float uniform = 0.6f;
      int32_t id;
      float logprob;
      nm_sample_args a = sample_args(x, temperature, 10, 0.9f, 0, &uniform, &id);
      a.logprobs = &logprob;
      NM_OK_CALL(nm_sample(engine, &a));
      const double want = x[static_cast<size_t>(id)] - largest - std::log(sum);
      // The sum is relatively off by its exponentials: 2 ulp and |x - largest| u each, at most 40 u where it matters.
      NM_CHECK_MSG(std::fabs(logprob - want) <= nmtest::gamma(48) + nmtest::gamma(1) * std::fabs(want),
                   "%g, expected %g", static_cast<double>(logprob), want);
    }
  });
}

NM_TEST(nan_and_infinities_in_sampling) {
  on_every_tier([&](const TestEngine& engine) {
    std::vector<float> x(100, kNaN);
    const float uniform = 0.99f;
    int32_t id;
    float logprob;
    for (const float temperature : {0.0f, 1.0f}) {
      for (const int64_t top_k : {0, 3}) {
        nm_sample_args a = sample_args(x, temperature, top_k, 1, 0, &uniform, &id);
        a.logprobs = &logprob;
        std::fill(x.begin(), x.end(), kNaN);
        NM_REFUSED(nm_sample(engine, &a), NM_ERR_ARGUMENT, "logits[0]: no number above -inf");
        std::fill(x.begin(), x.end(), -kInf);
        NM_REFUSED(nm_sample(engine, &a), NM_ERR_ARGUMENT, "logits[0]: no number above -inf");
        x[41] = -1e30f;  // the only one that can be
        x[42] = kNaN;
        NM_OK_CALL(nm_sample(engine, &a));
        NM_CHECK(id == 41 && logprob == 0);
        x[80] = x[90] = kInf;  // each has a half
        NM_OK_CALL(nm_sample(engine, &a));
        NM_CHECK(id == (temperature == 0 ? 80 : 90));
        NM_CHECK(std::fabs(logprob + std::log(2.0)) < 1e-6);
      }
    }
  });
}

namespace {

/** Four rows of logits without gaps, their targets, nll in float64 and how far the library's may be off. */
struct NllRows {
  NllRows(int64_t width, float size) : vocab(width), x(static_cast<size_t>(4 * vocab)) {
    Random random(4);
    for (float& v : x) v = size * random.normal();
    for (int32_t& t : targets) t = static_cast<int32_t>(random.below(vocab));
    for (size_t r = 0; r < 4; r++) {
      const float* row = x.data() + static_cast<int64_t>(r) * vocab;
      const double largest = *std::max_element(row, row + vocab);
      double sum = 0, by_exponents = 0;
      for (int64_t i = 0; i < vocab; i++) {
        const double d = row[i] - largest, e = std::exp(d);
        sum += e;
        by_exponents += e * nmtest::gamma(2) * std::fabs(d);
      }
      // Beside the exponents' rounding: 2 ulp of the exponential, 32 terms in a lane, a tree of 8, float64 from there.
      want[r] = std::log(sum) - (row[targets[r]] - largest);
      off[r] = by_exponents / sum * 1.01 + nmtest::gamma(2 + 32 + 8) + 1e-14 * std::fabs(want[r]);
    }
  }

  int64_t vocab;
  std::vector<float> x;
  int32_t targets[4];
  double want[4], off[4];
};

void check_nll(const TestEngine& engine, const NllRows& rows, Edge edge) {
  const int64_t vocab = rows.vocab, stride = vocab + 3;
  Guarded<float> x(3 * stride + vocab, edge);
  Guarded<int32_t> targets(4, edge);
  Guarded<double> nll(4, edge);
  for (int64_t r = 0; r < 4; r++) std::copy_n(rows.x.begin() + r * vocab, vocab, x.begin() + r * stride);
  std::copy_n(rows.targets, 4, targets.begin());
  nm_nll_args a = args<nm_nll_args>();
  a.rows = 4;
  a.vocab = vocab;
  a.logits = x.data();
  a.logits_stride = stride;
  a.targets = targets.data();
  a.nll = nll.data();
  NM_OK_CALL(nm_nll(engine, &a));
  for (int64_t r = 0; r < 4; r++)
    NM_CHECK_MSG(std::fabs(nll[r] - rows.want[r]) <= rows.off[r], "%s vocab=%lld: %.12g, expected %.12g",
                 engine.tier_name(), static_cast<long long>(vocab), nll[r], rows.want[r]);
}

}  // namespace

NM_TEST(nll_is_the_float64_log_sum_exp) {
  for (const int64_t vocab : {1, 5, 16, 100, 1024, 1025, 50257})
    for (const float size : {1.0f, 30.0f, 3000.0f}) {
      const NllRows rows(vocab, size);
      on_every_tier([&](const TestEngine& engine) {
        for (const Edge edge : {Edge::kEnd, Edge::kStart}) check_nll(engine, rows, edge);
      });
    }
}

/** Of one row pair in float64, and what rounding the float32 exponents may change in it. */
struct Divergence {
  double kl = 0, off = 0;
};

static Divergence divergence(const float* x, const float* y, int64_t n) {
  const double mx = *std::max_element(x, x + n), my = *std::max_element(y, y + n);
  double sx = 0, sy = 0;
  for (int64_t i = 0; i < n; i++) {
    sx += std::exp(x[i] - mx);
    sy += std::exp(y[i] - my);
  }
  Divergence out;
  for (int64_t i = 0; i < n; i++) {
    const double lp = x[i] - mx - std::log(sx), lq = y[i] - my - std::log(sy), p = std::exp(lp), q = std::exp(lq);
    if (p > 0) out.kl += p * (lp - lq);
    // x - y, and its distance from the offset, are rounded; so are x - mx and y - my before their exponentials.
    const double d = std::fabs(static_cast<double>(x[i]) - y[i]);
    const double offset = std::fabs((mx + std::log(sx)) - (my + std::log(sy)));
    const double exponents = std::fabs(x[i] - mx) * p + std::fabs(y[i] - my) * q;
    const double term = p * std::fabs(lp - lq - 1) + q;
    out.off += nmtest::gamma(2) * ((d + 2 * offset) * std::fabs(p - q));
    if (std::fabs(lp - lq) >= 0.49)
      out.off += nmtest::gamma(2) * exponents * std::fabs(lp - lq) + nmtest::gamma(4) * term;
    else
      out.off += nmtest::gamma(2) * std::fabs(x[i] - mx) * p * (lp - lq) * (lp - lq);
  }
  return out;
}

namespace {

/** Three pairs of rows without gaps, their divergence and first largest tokens. */
struct KlRows {
  KlRows(int64_t width, float of_size, float of_change)
      : vocab(width), size(of_size), change(of_change), x(static_cast<size_t>(3 * vocab)) {
    Random random(5);
    for (float& v : x) v = size * random.normal();
    for (const float v : x) y.push_back(v + change * random.normal() + 2.0f);
    for (int64_t r = 0; r < 3; r++) {
      const float *xr = x.data() + r * vocab, *yr = y.data() + r * vocab;
      want[r] = divergence(xr, yr, vocab);
      top_x[r] = std::max_element(xr, xr + vocab) - xr;
      top_y[r] = std::max_element(yr, yr + vocab) - yr;
    }
  }

  int64_t vocab;
  float size, change;
  std::vector<float> x, y;
  Divergence want[3];
  int64_t top_x[3], top_y[3];
};

void check_kl(const TestEngine& engine, const KlRows& rows, Edge edge) {
  const int64_t vocab = rows.vocab, x_stride = vocab + 3, y_stride = vocab + 1;
  Guarded<float> x(2 * x_stride + vocab, edge), y(2 * y_stride + vocab, edge);
  Guarded<double> kl(3, edge);
  Guarded<int32_t> tops(3, edge), top(3, edge);
  for (int64_t r = 0; r < 3; r++) {
    std::copy_n(rows.x.begin() + r * vocab, vocab, x.begin() + r * x_stride);
    std::copy_n(rows.y.begin() + r * vocab, vocab, y.begin() + r * y_stride);
  }
  nm_kl_args a = args<nm_kl_args>();
  a.rows = 3;
  a.vocab = vocab;
  a.reference = x.data();
  a.reference_stride = x_stride;
  a.logits = y.data();
  a.logits_stride = y_stride;
  a.kl = kl.data();
  a.top_reference = tops.data();
  a.top = top.data();
  NM_OK_CALL(nm_kl(engine, &a));
  for (int64_t r = 0; r < 3; r++) {
    // Beside the exponents' rounding: 20 roundings in a term, 64 terms in a lane, a tree of 16, float64 from
    // there; the square of the normalizers' error; and what float64 leaves of the oracle's own cancellation.
    const double normalizers = nmtest::gamma(64) + nmtest::gamma(2) * 8;
    const Divergence& want = rows.want[r];
    const double tolerance =
        want.kl * nmtest::gamma(20 + 64 + 16) + want.off * 1.01 + normalizers * normalizers + 1e-13;
    NM_CHECK_MSG(kl[r] >= 0 && std::fabs(kl[r] - want.kl) <= tolerance,
                 "%s vocab=%lld size=%g change=%g: %.12g, expected %.12g +- %.3g", engine.tier_name(),
                 static_cast<long long>(vocab), static_cast<double>(rows.size), static_cast<double>(rows.change), kl[r],
                 want.kl, tolerance);
    NM_CHECK(tops[r] == rows.top_x[r]);
    NM_CHECK(top[r] == rows.top_y[r]);
  }
}

}  // namespace

NM_TEST(kl_is_the_float64_divergence) {
  std::vector<KlRows> all;
  for (const int64_t vocab : {1, 5, 16, 17, 100, 1024, 1055, 9001})
    for (const float size : {1.0f, 30.0f, 300.0f})
      for (const float change : {0.0f, 1e-3f, 0.3f, 8.0f}) all.emplace_back(vocab, size, change);
  on_every_tier([&](const TestEngine& engine) {
    for (const KlRows& rows : all)
      for (const Edge edge : {Edge::kEnd, Edge::kStart}) check_kl(engine, rows, edge);
  });
}

NM_TEST(kl_of_impossible_tokens_nan_and_infinity) {
  on_every_tier([&](const TestEngine& engine) {
    std::vector<float> x(6 * 20, 1.0f), y(6 * 20, 1.0f);
    y[3] = -kInf;                   // possible in the reference only
    x[20 + 3] = -kInf;              // impossible in the reference only: 19 tokens of 20
    x[40 + 3] = y[40 + 3] = -kInf;  // in both
    y[60 + 19] = kNaN;
    x[80 + 19] = kInf;
    for (int i = 0; i < 20; i++) x[100 + i] = -kInf;
    double kl[6];
    nm_kl_args a = args<nm_kl_args>();
    a.rows = 6;
    a.vocab = a.logits_stride = a.reference_stride = 20;
    a.reference = x.data();
    a.logits = y.data();
    a.kl = kl;
    NM_OK_CALL(nm_kl(engine, &a));
    NM_CHECK(kl[0] == kInf);
    NM_CHECK_MSG(std::fabs(kl[1] - std::log(20.0 / 19)) < 1e-6, "%g", kl[1]);
    NM_CHECK_MSG(std::fabs(kl[2]) < 1e-12, "%g", kl[2]);
    NM_CHECK(std::isnan(kl[3]) && std::isnan(kl[4]) && std::isnan(kl[5]));
    a.kl = nullptr;
    NM_REFUSED(nm_kl(engine, &a), NM_ERR_ARGUMENT, "kl: got NULL");
    a.kl = kl;
    a.reference_stride = 19;
    NM_REFUSED(nm_kl(engine, &a), NM_ERR_ARGUMENT, "reference_stride: got 19");
    a.reference_stride = 20;
    a.vocab = 0;
    NM_REFUSED(nm_kl(engine, &a), NM_ERR_ARGUMENT, "vocab: got 0");
    a.vocab = 20;
    const int32_t cancel = 1;
    a.cancel = &cancel;
    NM_REFUSED(nm_kl(engine, &a), NM_ERR_CANCELLED, "cancelled");
  });
}

NM_TEST(nll_of_nan_and_infinity) {
  on_every_tier([&](const TestEngine& engine) {
    std::vector<float> x(4 * 20, 1.0f);
    x[3] = -kInf;
    x[20 + 5] = kNaN;
    x[40 + 5] = kInf;
    for (size_t i = 60; i < 80; i++) x[i] = -kInf;
    const int32_t targets[4] = {3, 0, 0, 0};
    double nll[4];
    nm_nll_args a = args<nm_nll_args>();
    a.rows = 4;
    a.vocab = a.logits_stride = 20;
    a.logits = x.data();
    a.targets = targets;
    a.nll = nll;
    NM_OK_CALL(nm_nll(engine, &a));
    NM_CHECK(nll[0] == kInf && std::isnan(nll[1]) && std::isnan(nll[2]) && std::isnan(nll[3]));
  });
}

NM_TEST(wrong_arguments_are_named) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  const std::vector<float> x = logits(16, 1);
  float uniform[2] = {0.5f, 0.5f}, y[16];
  int32_t ids[2], targets[2] = {0, 7};
  double losses[2];
  nm_sample_args good = sample_args(x, 1, 0, 1, 0, uniform, ids);
  good.rows = 2;
  good.vocab = good.logits_stride = 8;
  NM_OK_CALL(nm_sample(engine, &good));
  using A = nm_sample_args;
  struct Row {
    const char* fragment;
    void (*spoil)(A& a);
    int32_t status = NM_ERR_ARGUMENT;
  };
  const Row rows[] = {
      {"struct_size", [](A& a) { a.struct_size = 7; }, NM_ERR_STRUCT_SIZE},
      {"temperature: got -1", [](A& a) { a.temperature = -1; }},
      {"temperature: got nan", [](A& a) { a.temperature = kNaN; }},
      {"temperature: got inf", [](A& a) { a.temperature = kInf; }},
      {"top_p: got 0,", [](A& a) { a.top_p = 0; }},
      {"top_p: got 1.5", [](A& a) { a.top_p = 1.5f; }},
      {"top_p: got nan", [](A& a) { a.top_p = kNaN; }},
      {"min_p: got -0.5", [](A& a) { a.min_p = -0.5f; }},
      {"min_p: got 2", [](A& a) { a.min_p = 2; }},
      {"top_k: got -1", [](A& a) { a.top_k = -1; }},
      {"rows: got -1", [](A& a) { a.rows = -1; }},
      {"vocab: got 0", [](A& a) { a.vocab = 0; }},
      {"logits: got NULL", [](A& a) { a.logits = nullptr; }},
      {"logits_stride: got 7", [](A& a) { a.logits_stride = 7; }},
      {"ids: got NULL", [](A& a) { a.ids = nullptr; }},
      {"uniform: got NULL", [](A& a) { a.uniform = nullptr; }},
      {"logprobs: misaligned",
       [](A& a) { a.logprobs = reinterpret_cast<float*>(reinterpret_cast<uintptr_t>(a.ids) + 1); }},
  };
  for (const Row& row : rows) {
    A a = good;
    row.spoil(a);
    NM_REFUSED(nm_sample(engine, &a), row.status, row.fragment);
  }
  for (const float bad : {1.0f, -0.1f, kNaN}) {
    uniform[1] = bad;
    NM_REFUSED(nm_sample(engine, &good), NM_ERR_ARGUMENT, "uniform[1]: got");
  }
  NM_REFUSED(nm_sample(nullptr, &good), NM_ERR_HANDLE, "engine");

  nm_softmax_args soft = args<nm_softmax_args>();
  soft.temperature = 1;
  soft.rows = 2;
  soft.cols = soft.x_stride = soft.y_stride = 8;
  soft.x = x.data();
  soft.y = y;
  NM_OK_CALL(nm_softmax(engine, &soft));
  nm_softmax_args bad = soft;
  bad.temperature = 0;
  NM_REFUSED(nm_softmax(engine, &bad), NM_ERR_ARGUMENT, "temperature: got 0, expected a finite number > 0");
  bad = soft;
  bad.cols = 0;
  NM_REFUSED(nm_softmax(engine, &bad), NM_ERR_ARGUMENT, "cols: got 0");
  bad = soft;
  bad.y = nullptr;
  NM_REFUSED(nm_softmax(engine, &bad), NM_ERR_ARGUMENT, "y: got NULL");
  bad = soft;
  bad.x_stride = 1;
  NM_REFUSED(nm_softmax(engine, &bad), NM_ERR_ARGUMENT, "x_stride: got 1");

  nm_nll_args nll = args<nm_nll_args>();
  nll.rows = 2;
  nll.vocab = nll.logits_stride = 8;
  nll.logits = x.data();
  nll.targets = targets;
  nll.nll = losses;
  NM_OK_CALL(nm_nll(engine, &nll));
  targets[1] = 8;
  NM_REFUSED(nm_nll(engine, &nll), NM_ERR_ARGUMENT, "targets[1]: got 8, expected 0..7");
  targets[1] = -1;
  NM_REFUSED(nm_nll(engine, &nll), NM_ERR_ARGUMENT, "targets[1]: got -1");
  targets[1] = 0;
  nll.nll = nullptr;
  NM_REFUSED(nm_nll(engine, &nll), NM_ERR_ARGUMENT, "nll: got NULL");
  nll.nll = losses;
  const int32_t cancel = 1;
  nll.cancel = &cancel;
  NM_REFUSED(nm_nll(engine, &nll), NM_ERR_CANCELLED, "cancelled");
}
