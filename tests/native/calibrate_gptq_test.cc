// GPTQ against the paper in float64: Gram matrices against sums, the factor against H, and the column loop followed with
// the explicit inverse that it does without: every code must be the nearest to the weight as the paper would update it.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "calibrate/strips.h"
#include "harness.h"

using nm::at_full;
using nm::at_triangle;
using nm::strips_of;
using nm::triangle;
using nmtest::args;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

using Doubles = std::vector<double>;

size_t at(int64_t i, int64_t j, int64_t k) { return static_cast<size_t>(i * k + j); }

/** One module, with everything between guard pages. */
struct Module {
  Module(int64_t rows, int64_t n, int64_t k, int64_t group, int32_t bits, uint64_t seed)
      : T(rows),
        N(n),
        K(k),
        G(group),
        x(T * K),
        exact(T * K),
        w(N * K),
        gram(triangle(strips_of(K))),
        cross(48 * 48 * strips_of(K) * strips_of(K)),
        factor(gram.size()),
        cross_factor(gram.size()),
        pivots(K),
        perm(K),
        g_idx(K),
        codes(N * K),
        scales(((K - 1) / G + 1) * N),
        zeros(scales.size()) {
    Random random(seed);
    for (int64_t t = 0; t < T; t++) {
      const float common = random.normal();
      for (int64_t j = 0; j < K; j++) {
        x[t * K + j] = (random.normal() + common) * (0.2f + static_cast<float>(j * 7 % 13) * 0.2f);
        exact[t * K + j] = x[t * K + j] + 0.1f * random.normal();
      }
    }
    for (int64_t t = 0; t < T && K > 3; t++) x[t * K + 3] = 0;  // a dead channel
    for (float& one : w) one = 0.05f * random.normal();
    c = args<nm_codes>();
    c.bits = bits;
    c.n = N;
    c.k = K;
    c.group_size = G;
    c.codes = codes.data();
    c.scales = scales.data();
    c.zeros = zeros.data();
  }

  int32_t add_gram(nm_engine* engine, bool paired, int64_t from, int64_t count) {
    nm_gram_args a = args<nm_gram_args>();
    a.t = count;
    a.k = a.x_stride = a.exact_stride = K;
    a.x = x.data() + from * K;
    a.gram = gram.data();
    if (paired) a.exact = exact.data() + from * K, a.cross = cross.data();
    return nm_gram(engine, &a);
  }

  int32_t make_factor(nm_engine* engine, int32_t order, bool paired, double damp = 0.05, double increment = 0.01) {
    nm_gptq_factor_args a = args<nm_gptq_factor_args>();
    a.order = order;
    a.rows = T;
    a.k = K;
    a.group_size = G;
    a.gram = gram.data();
    a.damp = damp;
    a.damp_increment = increment;
    a.alpha = kAlpha;
    a.factor = factor.data();
    if (paired) a.cross = cross.data(), a.cross_factor = cross_factor.data();
    a.pivots = pivots.data();
    a.perm = perm.data();
    a.used = used;
    return nm_gptq_factor(engine, &a);
  }

  int32_t quantize(nm_engine* engine, nm_gptq_quantize_args a, int32_t order, bool paired) {
    c.g_idx = nullptr;
    if (order == NM_GPTQ_ORDER_DESC_ACT && a.static_groups == 0) {
      for (int64_t i = 0; i < K; i++) g_idx[perm[i]] = static_cast<int32_t>(i / G);
      c.g_idx = g_idx.data();
    }
    a.w = w.data();
    a.w_stride = K;
    a.factor = factor.data();
    if (paired) a.cross_factor = cross_factor.data();
    a.pivots = pivots.data();
    a.perm = perm.data();
    a.out = &c;
    a.loss = &loss;
    return nm_gptq_quantize(engine, &a);
  }

  int64_t group_of(int64_t column) const { return c.g_idx != nullptr ? c.g_idx[column] : column / G; }

  static constexpr double kAlpha = 0.25;
  int64_t T, N, K, G;
  Guarded<float> x, exact, w;
  Guarded<double> gram, cross;
  Guarded<float> factor, cross_factor, pivots;
  Guarded<int32_t> perm, g_idx;
  Guarded<uint8_t> codes;
  Guarded<float> scales;
  Guarded<uint8_t> zeros;
  nm_codes c;
  double used[2] = {}, loss = 0;
};

/** 2 / T * a^T b, [K,K]. */
Doubles product(const Module& m, bool difference) {
  Doubles h(at(m.K, 0, m.K)), b(static_cast<size_t>(m.K));
  for (int64_t t = 0; t < m.T; t++) {
    const float* x = m.x.data() + t * m.K;
    std::copy(x, x + m.K, b.begin());
    for (int64_t i = 0; i < m.K; i++) {
      const double a = difference ? double{m.exact[t * m.K + i]} - x[i] : x[i];
      double* row = h.data() + at(i, 0, m.K);
      for (int64_t j = 0; j < m.K; j++) row[j] += a * b[static_cast<size_t>(j)];
    }
  }
  for (double& one : h) one *= 2.0 / static_cast<double>(m.T);
  return h;
}

/** H of the paper in the module's order, dead channels and damp included. */
Doubles damped(const Module& m, const Doubles& h) {
  Doubles out(h.size());
  double mean = 0;
  for (int64_t i = 0; i < m.K; i++) {
    for (int64_t j = 0; j < m.K; j++) out[at(i, j, m.K)] = h[at(m.perm[i], m.perm[j], m.K)];
    if (out[at(i, i, m.K)] == 0) out[at(i, i, m.K)] = 1;
    mean += out[at(i, i, m.K)] / static_cast<double>(m.K);
  }
  for (int64_t i = 0; i < m.K; i++) out[at(i, i, m.K)] += m.used[0] * mean;
  return out;
}

/** U of H^-1 = U^T U, by way of the inverse: H = L L^T, H^-1 = L^-T L^-1, and its Cholesky factor. */
Doubles inverse_factor(const Doubles& h, int64_t K) {
  const auto cholesky = [K](Doubles a) {  // lower
    for (int64_t j = 0; j < K; j++)
      for (int64_t i = j; i < K; i++) {
        double s = a[at(i, j, K)];
        for (int64_t q = 0; q < j; q++) s -= a[at(i, q, K)] * a[at(j, q, K)];
        a[at(i, j, K)] = i == j ? std::sqrt(s) : s / a[at(j, j, K)];
      }
    return a;
  };
  const Doubles l = cholesky(h);
  Doubles inverse(h.size()), u(h.size());
  for (int64_t e = 0; e < K; e++) {
    Doubles y(static_cast<size_t>(K));
    for (int64_t i = e; i < K; i++) {
      double s = i == e ? 1 : 0;
      for (int64_t q = e; q < i; q++) s -= l[at(i, q, K)] * y[static_cast<size_t>(q)];
      y[static_cast<size_t>(i)] = s / l[at(i, i, K)];
    }
    for (int64_t i = 0; i < K; i++) inverse[at(i, e, K)] = y[static_cast<size_t>(i)];  // L^-1
  }
  Doubles hi(h.size());
  for (int64_t i = 0; i < K; i++)
    for (int64_t j = 0; j < K; j++)
      for (int64_t q = std::max(i, j); q < K; q++) hi[at(i, j, K)] += inverse[at(q, i, K)] * inverse[at(q, j, K)];
  const Doubles lower = cholesky(hi);
  for (int64_t i = 0; i < K; i++)
    for (int64_t j = i; j < K; j++) u[at(i, j, K)] = lower[at(j, i, K)];
  return u;
}

/** P = alpha * triu(A U^T, 1) U. */
Doubles cross_update(const Module& m, const Doubles& a, const Doubles& u) {
  const int64_t K = m.K;
  Doubles left(a.size()), p(a.size());
  for (int64_t i = 0; i < K; i++)
    for (int64_t c = i + 1; c < K; c++)
      for (int64_t q = c; q < K; q++)
        left[at(i, c, K)] += Module::kAlpha * a[at(m.perm[i], m.perm[q], K)] * u[at(c, q, K)];
  for (int64_t i = 0; i < K; i++)
    for (int64_t c = i + 1; c < K; c++)
      for (int64_t q = i + 1; q <= c; q++) p[at(i, c, K)] += left[at(i, q, K)] * u[at(q, c, K)];
  return p;
}

/** U and P of a module as it was factored; worked out anew only for another order or damp than the last. */
class Oracle {
 public:
  /** a: of product(m, true), or NULL where inputs are not paired. */
  Oracle(const Module& m, const Doubles& h, const Doubles* a) : m_(m), h_(h), a_(a) {}

  /** Whether something changed since the last call. */
  bool update() {
    if (damp_ == m_.used[0] && std::equal(m_.perm.begin(), m_.perm.end(), perm_.begin(), perm_.end())) return false;
    damp_ = m_.used[0];
    perm_.assign(m_.perm.begin(), m_.perm.end());
    wanted = damped(m_, h_);
    u = inverse_factor(wanted, m_.K);
    if (a_ != nullptr) p = cross_update(m_, *a_, u);
    return true;
  }

  Doubles wanted, u, p;

 private:
  const Module& m_;
  const Doubles& h_;
  const Doubles* a_;
  double damp_ = NAN;
  std::vector<int32_t> perm_;
};

struct Settings {
  int32_t sym;
  int32_t order;
  bool paired, static_groups, refresh;
};

/** The scale that the header's words give for lo..hi. */
double scale_of(double low, double high, int32_t sym, double most) {
  if (low == 0 && high == 0) low = -1, high = 1;
  return sym != 0 ? 2 * std::max(-low, high) / (sym == 2 ? most - 1 : most) : (high - low) / most;
}

/** Follows one row with the paper's update and its codes as they came out; returns its loss. */
double follow(const Module& m, const Settings& s, const Doubles& u, const Doubles& p, int64_t n, const char* what) {
  const int64_t K = m.K;
  const double most = (1 << m.c.bits) - 1;
  Doubles w(static_cast<size_t>(K)), original;
  for (int64_t i = 0; i < K; i++) w[static_cast<size_t>(i)] = m.pivots[i] == 0 ? 0 : m.w[n * K + m.perm[i]];
  original = w;
  Doubles lazy = w;
  double loss = 0;
  for (int64_t i = 0; i < K; i++) {
    if (i % (s.refresh ? 8 : 128) == 0) lazy = w;
    const int64_t g = m.group_of(m.perm[i]);
    const double scale = m.scales[g * m.N + n], zero = m.zeros[g * m.N + n];
    if (s.static_groups || i == 0 || m.group_of(m.perm[i - 1]) != g) {
      double low = 0, high = 0;
      for (int64_t j = 0; j < K; j++) {
        if (m.group_of(m.perm[j]) != g) continue;
        const double one = (s.static_groups ? original : lazy)[static_cast<size_t>(j)];
        low = std::min(low, one), high = std::max(high, one);
      }
      double want = scale_of(low, high, s.sym, most);
      int64_t end = i;
      while (end < K && m.group_of(m.perm[end]) == g) end++;
      if (s.refresh && i % 8 == 0 && (end % 8 == 0 || end == K))  // searched: one of those that may be tried
        want *= std::clamp(std::nearbyint(scale / want / 0.025), 15.0, 41.0) * 0.025;
      NM_CHECK_MSG(std::fabs(scale / want - 1) < 3e-5, "%s: row %lld place %lld: scale %.9g, expected %.9g", what,
                   static_cast<long long>(n), static_cast<long long>(i), scale, want);
    }
    const double x = w[static_cast<size_t>(i)], code = m.codes[n * K + m.perm[i]];
    const double nearest = std::clamp(x / scale + zero, s.sym == 2 ? 1.0 : 0.0, most);
    NM_CHECK_MSG(std::fabs(code - nearest) < 0.501, "%s: row %lld place %lld: %.6f coded as %g", what,
                 static_cast<long long>(n), static_cast<long long>(i), nearest, code);
    const double e = (x - scale * (code - zero)) / u[at(i, i, K)];
    loss += e * e;
    for (int64_t j = i; j < K; j++)
      w[static_cast<size_t>(j)] += (s.paired ? x * p[at(i, j, K)] : 0) - e * u[at(i, j, K)];
  }
  return loss;
}

}  // namespace

NM_TEST(gram_matrices_are_sums_of_products_on_odd_shapes) {
  for (const auto& [T, K] : {std::pair{1, 1}, {7, 47}, {600, 49}, {65, 100}, {259, 145}}) {
    Module m(T, 1, K, 1, 4, 5);
    const Doubles h = product(m, false), a = product(m, true);
    Doubles bounds(h.size());  // sums of up to 256 products; |a b| summed is at most T times the largest
    for (int64_t t = 0; t < T; t++)
      for (int64_t i = 0; i < K; i++) {
        const double size = std::fabs(m.x[t * K + i]) + std::fabs(m.exact[t * K + i]);
        for (int64_t j = 0; j < K; j++) bounds[at(i, j, K)] += nmtest::gamma(259) * size * std::fabs(m.x[t * K + j]);
      }
    nmtest::on_every_tier([&](const TestEngine& engine) {
      std::fill(m.gram.begin(), m.gram.end(), 0);
      std::fill(m.cross.begin(), m.cross.end(), 0);
      NM_OK_CALL(m.add_gram(engine, true, 0, T / 3));
      NM_OK_CALL(m.add_gram(engine, true, T / 3, T - T / 3));
      for (int64_t i = 0; i < K; i++)
        for (int64_t j = 0; j < K; j++) {
          const double bound = bounds[at(i, j, K)], rows = T / 2.0;
          if (i <= j)
            NM_CHECK_MSG(std::fabs(*at_triangle(m.gram.data(), i, j) - rows * h[at(i, j, K)]) <= bound,
                         "%s K %d: gram[%lld,%lld]", engine.tier_name(), K, static_cast<long long>(i),
                         static_cast<long long>(j));
          NM_CHECK_MSG(std::fabs(*at_full(m.cross.data(), strips_of(K), i, j) - rows * a[at(i, j, K)]) <= bound,
                       "%s K %d: cross[%lld,%lld]", engine.tier_name(), K, static_cast<long long>(i),
                       static_cast<long long>(j));
        }
    });
  }
}

NM_TEST(the_factor_times_its_transpose_is_the_damped_matrix) {
  for (const int64_t K : {1, 48, 101, 200})
    for (const int32_t order : {NM_GPTQ_ORDER_NONE, NM_GPTQ_ORDER_DESC_ACT, NM_GPTQ_ORDER_GROUP_AWARE}) {
      Module m(300, 1, K, std::min<int64_t>(K, 32), 4, 3);
      const Doubles h = product(m, false), a = product(m, true);
      Oracle oracle(m, h, nullptr);
      nmtest::on_every_tier([&](const TestEngine& engine) {
        std::fill(m.gram.begin(), m.gram.end(), 0);
        std::fill(m.cross.begin(), m.cross.end(), 0);
        NM_OK_CALL(m.add_gram(engine, true, 0, m.T));
        NM_OK_CALL(m.make_factor(engine, order, true));
        NM_CHECK(m.used[0] == 0.05 && m.used[1] == 0);
        oracle.update();
        const Doubles &wanted = oracle.wanted,
                      &u = oracle.u;  // R[c,c] = 1 / U[c,c]; the pivot of a dead channel says 0
        Doubles r(u.size()), of_cross(u.size());
        for (int64_t c = 0; c < K; c++)
          for (int64_t i = 0; i <= c; i++) {
            const double pivot = 1 / u[at(c, c, K)];
            r[at(i, c, K)] = i == c ? pivot : double{*at_triangle(m.factor.data(), i, c)} * pivot;
            if (i < c) of_cross[at(i, c, K)] = *at_triangle(m.cross_factor.data(), i, c) * pivot / Module::kAlpha;
          }
        for (int64_t i = 0; i < K; i++) {
          if (m.pivots[i] != 0) NM_CHECK(std::fabs(m.pivots[i] * u[at(i, i, K)] - 1) < 1e-5);
          NM_CHECK((m.pivots[i] == 0) == (m.perm[i] == 3 && K > 3));
          for (int64_t j = i; j < K; j++) {
            double sum = 0, size = 0, cross = 0, cross_size = 0;
            for (int64_t c = j; c < K; c++) {
              const double one = r[at(i, c, K)] * r[at(j, c, K)];
              sum += one, size += std::fabs(one);
              if (c == i) continue;
              const double other = of_cross[at(i, c, K)] * r[at(j, c, K)];
              cross += other, cross_size += std::fabs(other);
            }
            // H itself is good to float32 sums of products, the factor to float32 roundings.
            const double scale = std::sqrt(wanted[at(i, i, K)] * wanted[at(j, j, K)]);
            NM_CHECK_MSG(std::fabs(sum - wanted[at(i, j, K)]) < 4e-7 * size + 1e-5 * scale,
                         "%s K %lld order %d: [%lld,%lld]", engine.tier_name(), static_cast<long long>(K), order,
                         static_cast<long long>(i), static_cast<long long>(j));
            if (j > i)
              NM_CHECK_MSG(std::fabs(cross - a[at(m.perm[i], m.perm[j], K)]) < 4e-6 * (cross_size + scale),
                           "%s K %lld order %d: cross [%lld,%lld]", engine.tier_name(), static_cast<long long>(K),
                           order, static_cast<long long>(i), static_cast<long long>(j));
          }
        }
      });
    }
}

NM_TEST(every_code_is_the_nearest_to_the_weight_as_the_paper_updates_it) {
  struct Case {
    int64_t n, k, group;
    int32_t bits;
    Settings s;
  };
  const Case cases[] = {{5, 200, 64, 4, {1, NM_GPTQ_ORDER_NONE, false, false, false}},
                        {49, 150, 32, 3, {1, NM_GPTQ_ORDER_DESC_ACT, false, false, false}},
                        {3, 260, 32, 4, {0, NM_GPTQ_ORDER_GROUP_AWARE, false, false, false}},
                        {3, 301, 301, 8, {0, NM_GPTQ_ORDER_DESC_ACT, false, false, false}},
                        {4, 290, 20, 2, {0, NM_GPTQ_ORDER_NONE, false, false, true}},
                        {4, 290, 192, 4, {1, NM_GPTQ_ORDER_NONE, false, false, false}},
                        {2, 170, 16, 4, {1, NM_GPTQ_ORDER_DESC_ACT, false, true, false}},
                        {2, 170, 16, 4, {1, NM_GPTQ_ORDER_GROUP_AWARE, false, true, false}},
                        {3, 270, 32, 4, {1, NM_GPTQ_ORDER_GROUP_AWARE, true, false, false}},
                        {3, 270, 24, 4, {0, NM_GPTQ_ORDER_NONE, true, false, true}},
                        {50, 300, 64, 3, {1, NM_GPTQ_ORDER_GROUP_AWARE, false, false, true}},
                        {3, 290, 192, 2, {1, NM_GPTQ_ORDER_DESC_ACT, false, false, true}},
                        {50, 170, 170, 4, {2, NM_GPTQ_ORDER_DESC_ACT, false, false, false}},
                        {3, 170, 32, 4, {2, NM_GPTQ_ORDER_DESC_ACT, false, true, false}},
                        {1, 1, 1, 4, {0, NM_GPTQ_ORDER_NONE, false, false, false}}};
  for (const Case& t : cases) {
    Module m(400, t.n, t.k, t.group, t.bits, static_cast<uint64_t>(t.k));
    const Doubles h = product(m, false), a = t.s.paired ? product(m, true) : Doubles();
    Oracle oracle(m, h, t.s.paired ? &a : nullptr);
    nmtest::on_every_tier([&](const TestEngine& engine) {
      std::fill(m.gram.begin(), m.gram.end(), 0);
      std::fill(m.cross.begin(), m.cross.end(), 0);
      NM_OK_CALL(m.add_gram(engine, t.s.paired, 0, m.T));
      NM_OK_CALL(m.make_factor(engine, t.s.order, t.s.paired));
      nm_gptq_quantize_args q = args<nm_gptq_quantize_args>();
      q.sym = t.s.sym;
      q.static_groups = t.s.static_groups;
      q.refresh = t.s.refresh;
      NM_OK_CALL(m.quantize(engine, q, t.s.order, t.s.paired));
      oracle.update();
      const std::string what = nmtest::text("%s K %lld group %lld", engine.tier_name(), static_cast<long long>(t.k),
                                            static_cast<long long>(t.group));
      double loss = 0;
      for (int64_t n = 0; n < t.n; n++) loss += follow(m, t.s, oracle.u, oracle.p, n, what.c_str());
      NM_CHECK_MSG(std::fabs(m.loss - loss) < 1e-3 * loss + 1e-15, "%s: loss %g, expected %g", what.c_str(), m.loss,
                   loss);
    });
  }
}

NM_TEST(threads_change_no_bit) {
  Module m(530, 250, 320, 64, 4, 9);
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    std::vector<uint8_t> first;
    for (const int32_t threads : {1, 2, 5}) {
      const TestEngine engine(tier, threads);
      std::fill(m.gram.begin(), m.gram.end(), 0);
      std::fill(m.cross.begin(), m.cross.end(), 0);
      NM_OK_CALL(m.add_gram(engine, true, 0, m.T));
      NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_GROUP_AWARE, true));
      nm_gptq_quantize_args q = args<nm_gptq_quantize_args>();
      q.refresh = 1;
      NM_OK_CALL(m.quantize(engine, q, NM_GPTQ_ORDER_GROUP_AWARE, true));
      std::vector<uint8_t> all;
      const auto take = [&](const void* from, int64_t bytes) {
        const auto* p = static_cast<const uint8_t*>(from);
        all.insert(all.end(), p, p + bytes);
      };
      for (int64_t i = 0; i < m.K; i++)
        for (int64_t j = i; j < m.K; j++) {
          take(at_triangle(m.gram.data(), i, j), 8);
          take(at_triangle(m.factor.data(), i, j), 4);
          take(at_triangle(m.cross_factor.data(), i, j), 4);
        }
      take(m.pivots.data(), 4 * m.K);
      take(m.codes.data(), m.codes.size());
      take(m.scales.data(), 4 * m.scales.size());
      take(m.zeros.data(), m.zeros.size());
      take(&m.loss, 8);
      if (threads == 1) first = all;
      NM_CHECK_MSG(all == first, "%s: %d threads give other bits", engine.tier_name(), threads);
    }
  }
}

NM_TEST(the_range_search_finds_the_least_error_of_its_ranges) {
  const int64_t N = 50, K = 64;
  for (const int32_t bits : {2, 4})
    for (const int32_t sym : {0, 1, 2}) {
      Module m(K, N, K, 16, bits, 4);
      const double most = (1 << bits) - 1;
      const auto weight = [&](int64_t n, int64_t k) { return k == 3 ? 0 : double{m.w[n * K + k]}; };
      const auto error = [&](int64_t n, int64_t g, double scale, double zero) {
        double sum = 0;
        for (int64_t k = 16 * g; k < 16 * g + 16; k++) {
          const double x = weight(n, k);
          const double code = std::clamp(std::nearbyint(x / scale) + zero, sym == 2 ? 1.0 : 0.0, most);
          sum += std::pow(std::fabs(scale * (code - zero) - x), 2.4);
        }
        return sum;
      };
      Doubles best(at(N, 0, 4), INFINITY);  // [N, groups]
      for (int64_t n = 0; n < N; n++)
        for (int64_t g = 0; g < 4; g++) {
          double low = 0, high = 0;
          for (int64_t k = 16 * g; k < 16 * g + 16; k++)
            low = std::min(low, weight(n, k)), high = std::max(high, weight(n, k));
          for (int step = 0; step < 80; step++) {
            const double part = 1 - step / 100.0, scale = scale_of(part * low, part * high, sym, most);
            const double zero = sym != 0 ? (most + 1) / 2 : std::nearbyint(-part * low / scale);
            for (int shift = -1; shift <= 1; shift++)
              if (shift == 0 || (bits == 2 && sym == 0)) {
                double& least = best[at(n, g, 4)];
                least = std::min(least, error(n, g, scale, std::clamp(zero + shift, 0.0, most)));
              }
          }
        }
      nmtest::on_every_tier([&](const TestEngine& engine) {
        std::fill(m.gram.begin(), m.gram.end(), 0);
        NM_OK_CALL(m.add_gram(engine, false, 0, K));
        NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_NONE, false));
        nm_gptq_quantize_args q = args<nm_gptq_quantize_args>();
        q.sym = sym;
        q.static_groups = 1;
        q.mse = 2.4f;
        NM_OK_CALL(m.quantize(engine, q, NM_GPTQ_ORDER_NONE, false));
        for (int64_t n = 0; n < N; n++)
          for (int64_t g = 0; g < 4; g++) {
            const double got = error(n, g, m.scales[g * N + n], m.zeros[g * N + n]), least = best[at(n, g, 4)];
            NM_CHECK_MSG(got < 1.001 * least, "%s %d bits: row %lld group %lld: error %g, the best is %g",
                         engine.tier_name(), bits, static_cast<long long>(n), static_cast<long long>(g), got, least);
          }
      });
    }
}

/** What a row of one group costs with `part` of its range, by the paper's update. */
double loss_of(const Module& m, const Doubles& u, int64_t n, bool sym, double part) {
  const double most = (1 << m.c.bits) - 1;
  Doubles w(static_cast<size_t>(m.K));
  for (int64_t i = 0; i < m.K; i++) w[static_cast<size_t>(i)] = m.pivots[i] == 0 ? 0 : m.w[n * m.K + m.perm[i]];
  const double low = part * std::min(0.0, *std::min_element(w.begin(), w.end()));
  const double high = part * std::max(0.0, *std::max_element(w.begin(), w.end()));
  const double scale = scale_of(low, high, sym, most), zero = sym ? (most + 1) / 2 : std::nearbyint(-low / scale);
  double loss = 0;
  for (int64_t i = 0; i < m.K; i++) {
    const double x = w[static_cast<size_t>(i)], code = std::clamp(std::nearbyint(x / scale) + zero, 0.0, most);
    const double e = (x - scale * (code - zero)) / u[at(i, i, m.K)];
    loss += e * e;
    for (int64_t j = i; j < m.K; j++) w[static_cast<size_t>(j)] -= e * u[at(i, j, m.K)];
  }
  return loss;
}

/** The same for all rows, each with the best of the ranges that are searched. */
double least_loss(const Module& m, const Doubles& u, bool sym) {
  double sum = 0;
  for (int64_t n = 0; n < m.N; n++) {
    double row = INFINITY, part = 1;
    for (int step = 0; step < 13; step++) {
      const double loss = loss_of(m, u, n, sym, 1 - step / 20.0);
      if (loss < row) row = loss, part = 1 - step / 20.0;
    }
    sum += std::min({row, loss_of(m, u, n, sym, part + 0.025), loss_of(m, u, n, sym, part - 0.025)});
  }
  return sum;
}

NM_TEST(refreshed_groups_take_the_range_with_the_least_loss) {
  const int64_t N = 200, K = 61;
  for (const int32_t bits : {2, 3})
    for (const bool sym : {true, false}) {
      Module m(300, N, K, K, bits, 8);
      const Doubles h = product(m, false);
      Oracle oracle(m, h, nullptr);
      double best = 0;
      nmtest::on_every_tier([&](const TestEngine& engine) {
        std::fill(m.gram.begin(), m.gram.end(), 0);
        NM_OK_CALL(m.add_gram(engine, false, 0, m.T));
        NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_GROUP_AWARE, false));
        nm_gptq_quantize_args q = args<nm_gptq_quantize_args>();
        q.sym = sym;
        NM_OK_CALL(m.quantize(engine, q, NM_GPTQ_ORDER_GROUP_AWARE, false));
        const double whole = m.loss;
        q.refresh = 1;
        NM_OK_CALL(m.quantize(engine, q, NM_GPTQ_ORDER_GROUP_AWARE, false));
        if (oracle.update()) best = least_loss(m, oracle.u, sym);
        // A weight in the middle between two codes may go either way, which few of the rows see.
        NM_CHECK_MSG(std::fabs(m.loss / best - 1) < 0.005, "%s %d bits: loss %g, the best ranges have %g",
                     engine.tier_name(), bits, m.loss, best);
        NM_CHECK_MSG(m.loss < 0.97 * whole, "%s %d bits: loss %g, with the whole range %g", engine.tier_name(), bits,
                     m.loss, whole);
      });
    }
}

NM_TEST(damp_then_floors_then_plain_rounding) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Module m(2, 3, 48, 16, 4, 7);  // 2 / rows = 1: the Gram matrix is H
    const auto set = [&](double small, double beside) {
      std::fill(m.gram.begin(), m.gram.end(), 0);
      for (int64_t i = 0; i < 48; i++) *at_triangle(m.gram.data(), i, i) = i == 0 ? 1 : small;
      *at_triangle(m.gram.data(), 0, 5) = beside;
    };
    set(1, 1.1);
    NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_NONE, false));
    NM_CHECK_MSG(m.used[0] > 0.1 && m.used[0] < 0.121 && m.used[1] == 0, "damp %g floor %g", m.used[0], m.used[1]);
    // The mean is 1/48: no damp below 1 is enough, a floor of .01 with much damp is.
    set(1e-9, 0.2);
    NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_NONE, false));
    NM_CHECK_MSG(m.used[0] > 0.9 && std::fabs(m.used[1] - 0.01) < 1e-9, "damp %g floor %g", m.used[0], m.used[1]);
    NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_NONE, false, 0.05, 0));  // no ladder: a higher floor
    NM_CHECK_MSG(m.used[0] == 0.05 && std::fabs(m.used[1] - 0.1) < 1e-9, "damp %g floor %g", m.used[0], m.used[1]);
    set(1, 1e9);
    NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_DESC_ACT, false));
    NM_CHECK(m.used[0] == -1);
    for (const float x : m.factor) NM_CHECK(x == 0);
    for (int64_t i = 0; i < 48; i++) NM_CHECK(m.pivots[i] == 1 && m.perm[i] == i);
  });
}

NM_TEST(what_cannot_be_quantized_is_refused_with_its_place) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Module m(100, 60, 96, 32, 4, 2);
    NM_OK_CALL(m.add_gram(engine, false, 0, m.T));
    NM_OK_CALL(m.make_factor(engine, NM_GPTQ_ORDER_GROUP_AWARE, false));
    nm_gptq_quantize_args q = args<nm_gptq_quantize_args>();
    q.scale_type = NM_F16;
    const float kept = m.w[55 * 96 + 40];
    m.w[55 * 96 + 40] = NAN;
    NM_REFUSED(m.quantize(engine, q, 0, false), NM_ERR_ARGUMENT, "w[55,40]: got");
    m.w[55 * 96 + 40] = 1e7f;
    NM_REFUSED(m.quantize(engine, q, 0, false), NM_ERR_ARGUMENT, "w[55,");
    m.w[55 * 96 + 40] = kept;
    NM_OK_CALL(m.quantize(engine, q, 0, false));
    std::swap(m.perm[0], m.perm[95]);
    NM_REFUSED(m.quantize(engine, q, 0, false), NM_ERR_ARGUMENT, "do not follow each other");
    m.perm[0] = m.perm[1];
    NM_REFUSED(m.quantize(engine, q, 0, false), NM_ERR_ARGUMENT, "comes twice");
    *at_triangle(m.gram.data(), 7, 7) = INFINITY;
    NM_REFUSED(m.make_factor(engine, 0, false), NM_ERR_ARGUMENT, "column 7 of the inputs is not finite");
  });
}
