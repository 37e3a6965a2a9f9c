// EoRA: the eigensolver by what eigenvectors are; the product B A against what is possible, which is the sum of the largest
// eigenvalues of D G D^T, made dense; and against every product near it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "calibrate/symmetric_eigen.h"
#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::on_every_tier;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

using Matrix = std::vector<double>;

size_t at(int64_t i) { return static_cast<size_t>(i); }

int64_t strip_place(int64_t i, int64_t j) {
  const int64_t s = j / 48;
  return 1152 * s * (s + 1) + 48 * i + j % 48;
}

int64_t triangle(int64_t k) {
  const int64_t strips = (k + 47) / 48;
  return 1152 * strips * (strips + 1);
}

/** An error D of a weight, and inputs X whose columns differ in size and depend on each other, as those of a model do. */
struct Case {
  int64_t n, k, rank, rows;
  double decay;  // of the sizes of X's directions; 0 = all alike
};

const Case kCases[] = {{5, 7, 3, 20, 0},       {48, 96, 8, 300, 1},      {130, 290, 5, 400, .5}, {290, 130, 12, 400, 1},
                       {200, 210, 48, 500, 1}, {290, 96, 3, 300, 0},     {64, 200, 64, 40, 1},   {1, 60, 1, 80, 1},
                       {60, 1, 1, 80, 1},      {190, 150, 100, 400, 1.5}};

struct Problem {
  explicit Problem(const Case& t) : c(t), d(t.n * (t.k + 3)), gram(triangle(t.k)), dense(at(t.k * t.k)) {
    Random random(static_cast<uint64_t>(t.n * 1000 + t.k));
    for (float& x : d) x = .01f * random.normal();
    Matrix x(at(t.rows * t.k));
    for (int64_t r = 0; r < t.rows; r++) {
      double common = random.normal();
      for (int64_t k = 0; k < t.k; k++) {
        x[at(r * t.k + k)] = (random.normal() + common) * std::pow(1.0 + static_cast<double>(k % 97), -t.decay);
        common = .7 * common + .3 * random.normal();
      }
    }
    for (int64_t r = 0; r < t.rows; r++)
      for (int64_t i = 0; i < t.k; i++)
        for (int64_t j = i; j < t.k; j++) dense[at(i * t.k + j)] += x[at(r * t.k + i)] * x[at(r * t.k + j)];
    for (int64_t i = 0; i < t.k; i++)
      for (int64_t j = 0; j < i; j++) dense[at(i * t.k + j)] = dense[at(j * t.k + i)];
    std::fill(gram.begin(), gram.end(), std::numeric_limits<double>::quiet_NaN());  // what does not count, must not
    for (int64_t i = 0; i < t.k; i++)
      for (int64_t j = i; j < t.k; j++) gram[strip_place(i, j)] = dense[at(i * t.k + j)];
  }

  double error(int64_t n, int64_t k) const { return double{d[n * (c.k + 3) + k]}; }

  /** |X e^T|^2 of an e [N,K]. */
  double cost(const Matrix& e) const {
    double sum = 0;
    for (int64_t n = 0; n < c.n; n++) {
      Matrix g(at(c.k));  // G e
      for (int64_t i = 0; i < c.k; i++)
        for (int64_t j = 0; j < c.k; j++) g[at(j)] += dense[at(i * c.k + j)] * e[at(n * c.k + i)];
      for (int64_t i = 0; i < c.k; i++) sum += e[at(n * c.k + i)] * g[at(i)];
    }
    return sum;
  }

  template <class T>
  Matrix left(const T* a, const T* b) const {
    Matrix e(at(c.n * c.k));
    for (int64_t n = 0; n < c.n; n++)
      for (int64_t k = 0; k < c.k; k++) {
        double x = error(n, k);
        for (int64_t r = 0; r < c.rank; r++) x -= double{b[n * c.rank + r]} * double{a[r * c.k + k]};
        e[at(n * c.k + k)] = x;
      }
    return e;
  }

  /** The most that a product of this rank can take off: the largest eigenvalues of D G D^T. */
  double possible() const {
    const int64_t order = std::min(c.n, c.k);
    Matrix m(at(order * order)), value(at(order)), vectors(m.size());
    if (c.k < c.n) {  // those of (D R)^T D R with G = R R^T are the same, but for zeros
      const Matrix dr = error_times(cholesky());
      for (int64_t n = 0; n < c.n; n++)
        for (int64_t i = 0; i < c.k; i++)
          for (int64_t j = 0; j < c.k; j++) m[at(i * c.k + j)] += dr[at(n * c.k + i)] * dr[at(n * c.k + j)];
    } else {
      const Matrix dg = error_times(dense);
      for (int64_t n = 0; n < c.n; n++)
        for (int64_t o = 0; o < c.n; o++)
          for (int64_t k = 0; k < c.k; k++) m[at(n * c.n + o)] += dg[at(n * c.k + k)] * error(o, k);
    }
    nm::symmetric_eigen(order, m.data(), value.data(), vectors.data());
    return std::accumulate(value.begin(), value.begin() + c.rank, 0.0);
  }

  Matrix error_times(const Matrix& right) const {
    Matrix product(at(c.n * c.k));
    for (int64_t n = 0; n < c.n; n++)
      for (int64_t j = 0; j < c.k; j++)
        for (int64_t i = 0; i < c.k; i++) product[at(n * c.k + i)] += error(n, j) * right[at(j * c.k + i)];
    return product;
  }

  /** R of G = R R^T, lower. */
  Matrix cholesky() const {
    Matrix r = dense;
    for (int64_t j = 0; j < c.k; j++) {
      for (int64_t i = 0; i < j; i++) r[at(i * c.k + j)] = 0;
      for (int64_t i = j; i < c.k; i++) {
        double s = dense[at(i * c.k + j)];
        for (int64_t q = 0; q < j; q++) s -= r[at(i * c.k + q)] * r[at(j * c.k + q)];
        r[at(i * c.k + j)] = i == j ? std::sqrt(s) : s / r[at(j * c.k + j)];
      }
    }
    return r;
  }

  const Case& c;
  Guarded<float> d;
  Guarded<double> gram;
  Matrix dense;
};

struct Result {
  explicit Result(const Case& c) : a(c.rank * c.k), b(c.n * c.rank, Edge::kStart) {}
  Guarded<float> a, b;
  double taken = -1;
};

nm_eora_args call(const Problem& p, Result& r) {
  nm_eora_args a = args<nm_eora_args>();
  a.n = p.c.n;
  a.k = p.c.k;
  a.rank = p.c.rank;
  a.d = p.d.data();
  a.d_stride = p.c.k + 3;
  a.gram = p.gram.data();
  a.a = r.a.data();
  a.b = r.b.data();
  a.taken = &r.taken;
  return a;
}

/** a V = V diag(value), V orthonormal, to a few roundings of the largest. */
void check_eigen(const char* what, int64_t n, const Matrix& a) {
  Matrix spoilt = a, value(at(n)), v(at(n * n));
  nm::symmetric_eigen(n, spoilt.data(), value.data(), v.data());
  double norm = 0, worst = 0, skew = 0;
  for (const double x : a) norm += x * x;
  for (int64_t i = 0; i < n; i++) {
    NM_CHECK_MSG(i == 0 || value[at(i - 1)] >= value[at(i)], "%s: value %lld rises", what, static_cast<long long>(i));
    for (int64_t j = 0; j < n; j++) {
      double av = 0, product = 0;
      for (int64_t k = 0; k < n; k++) {
        av += a[at(j * n + k)] * v[at(i * n + k)];
        product += v[at(i * n + k)] * v[at(j * n + k)];
      }
      worst = std::max(worst, std::fabs(av - value[at(i)] * v[at(i * n + j)]));
      skew = std::max(skew, std::fabs(product - (i == j ? 1 : 0)));
    }
  }
  const double few = 30 * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  NM_CHECK_MSG(worst <= few * std::sqrt(norm), "%s: |A v - value v| up to %g", what, worst);
  NM_CHECK_MSG(skew <= few, "%s: V V^T differs from I by %g", what, skew);
}

}  // namespace

NM_TEST(eigenvectors_of_symmetric_matrices_are_eigenvectors_and_orthonormal) {
  Random random(3);
  for (const int64_t n : {1, 2, 3, 17, 60, 133}) {
    Matrix dense(at(n * n)), low(at(n * n)), graded(at(n * n)), diagonal(at(n * n)), zero(at(n * n));
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j <= i; j++) {
        dense[at(i * n + j)] = dense[at(j * n + i)] = double{random.normal()};
        low[at(i * n + j)] = low[at(j * n + i)] = static_cast<double>((i % 3 + 1) * (j % 3 + 1));
        graded[at(i * n + j)] = graded[at(j * n + i)] = std::pow(10.0, -static_cast<double>(i + j) / 4);
      }
    for (int64_t i = 0; i < n; i++) diagonal[at(i * n + i)] = static_cast<double>(i / 2);
    check_eigen("dense", n, dense);
    check_eigen("of rank 1", n, low);
    check_eigen("graded", n, graded);
    check_eigen("diagonal", n, diagonal);
    check_eigen("zero", n, zero);
  }
}

NM_TEST(the_product_takes_off_what_is_possible_and_says_how_much) {
  for (const Case& c : kCases) {
    const Problem p(c);
    const double possible = p.possible(),
                 whole =
                     p.cost(p.left<float>(Guarded<float>(c.rank * c.k).data(), Guarded<float>(c.n * c.rank).data()));
    std::vector<float> measured;  // the product that `left` was measured with: one of the same bits leaves the same
    double left = 0;
    on_every_tier([&](const TestEngine& engine) {
      Result r(c);
      const nm_eora_args a = call(p, r);
      NM_OK_CALL(nm_eora(engine, &a));
      // The header's few millionths; where rank is all there is, what float64 leaves.
      NM_CHECK_MSG(r.taken <= possible * (1 + 1e-11) && r.taken >= possible * (1 - 3e-6),
                   "%s, %lld x %lld rank %lld: takes %.12g of %.12g", engine.tier_name(), static_cast<long long>(c.n),
                   static_cast<long long>(c.k), static_cast<long long>(c.rank), r.taken, possible);
      // A and B are rounded to float32: that moves B A by at most 2 u |B| |A|, and the cost is quadratic around its least.
      std::vector<float> product(r.a.begin(), r.a.end());
      product.insert(product.end(), r.b.begin(), r.b.end());
      if (product != measured) left = p.cost(p.left(r.a.data(), r.b.data()));
      measured = product;
      NM_CHECK_MSG(std::fabs(left - (whole - r.taken)) <= 1e-6 * whole, "leaves %.12g of %.12g, said to take %.12g",
                   left, whole, r.taken);
    });
  }
}

NM_TEST(no_product_near_it_costs_less) {
  const Case& c = kCases[1];
  const Problem p(c);
  const TestEngine engine(NM_TIER_AUTO, 1);
  Result r(c);
  const nm_eora_args call_args = call(p, r);
  NM_OK_CALL(nm_eora(engine, &call_args));
  const double least = p.cost(p.left(r.a.data(), r.b.data()));
  Random random(9);
  for (const double size : {1e-1, 1e-2, 1e-3})
    for (int trial = 0; trial < 20; trial++) {
      Matrix a(r.a.begin(), r.a.end()), b(r.b.begin(), r.b.end());
      for (double& x : a) x += size * .05 * double{random.normal()};
      for (double& x : b) x += size * .05 * double{random.normal()};
      const double there = p.cost(p.left(a.data(), b.data()));
      NM_CHECK_MSG(there > least, "moved by %g: %.12g, here %.12g", size, there, least);
    }
}

NM_TEST(both_sides_are_alike_long_and_unseen_inputs_are_not_made_worse) {
  const Case c = {40, 120, 16, 20, 1};  // fewer rows than columns: G is singular
  const Problem p(c);
  const TestEngine engine(NM_TIER_AUTO, 1);
  Result r(c);
  const nm_eora_args a = call(p, r);
  NM_OK_CALL(nm_eora(engine, &a));
  for (int64_t i = 0; i < c.rank; i++) {
    double row = 0, column = 0;
    for (int64_t k = 0; k < c.k; k++) row += double{r.a[i * c.k + k]} * double{r.a[i * c.k + k]};
    for (int64_t n = 0; n < c.n; n++) column += double{r.b[n * c.rank + i]} * double{r.b[n * c.rank + i]};
    NM_CHECK_MSG(std::fabs(row - column) <= 1e-5 * row, "row %lld: %g and %g", static_cast<long long>(i), row, column);
  }
  double before = 0, after = 0;
  for (const double x : p.left(Guarded<float>(c.rank * c.k).data(), r.b.data())) before += x * x;
  for (const double x : p.left(r.a.data(), r.b.data())) after += x * x;
  NM_CHECK_MSG(after <= before, "|D - B A|^2 = %g, |D|^2 = %g", after, before);
}

NM_TEST(the_number_of_threads_does_not_matter) {
  const Case& c = kCases[4];
  const Problem p(c);
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    Result one(c), three(c);
    const nm_eora_args a = call(p, one), b = call(p, three);
    NM_OK_CALL(nm_eora(TestEngine(tier, 1), &a));
    NM_OK_CALL(nm_eora(TestEngine(tier, 3), &b));
    nmtest::check_same_bits("a", three.a.data(), one.a.data(), one.a.size());
    nmtest::check_same_bits("b", three.b.data(), one.b.data(), one.b.size());
    NM_CHECK(one.taken == three.taken);
  }
}

NM_TEST(no_error_and_no_input_give_zeros) {
  const Case c = {50, 60, 4, 30, 1};
  const TestEngine engine(NM_TIER_AUTO, 1);
  Problem exact(c), silent(c);
  std::fill(exact.d.begin(), exact.d.end(), 0.0f);
  std::fill(silent.gram.begin(), silent.gram.end(), 0.0);
  for (const Problem* p : {&exact, &silent}) {
    Result r(c);
    const nm_eora_args a = call(*p, r);
    NM_OK_CALL(nm_eora(engine, &a));
    NM_CHECK(r.taken == 0);
    for (const float x : r.a) NM_CHECK(std::isfinite(x) && (p == &silent || x == 0));
    for (const float x : r.b) NM_CHECK(std::isfinite(x) && (p == &silent || x == 0));
  }
}

NM_TEST(bad_arguments_are_named) {
  const Case c = {6, 9, 2, 30, 1};
  const TestEngine engine(NM_TIER_AUTO, 1);
  Problem p(c);
  Result r(c);
  const nm_eora_args good = call(p, r);
  nm_eora_args a = good;
  a.rank = 7;
  NM_REFUSED(nm_eora(engine, &a), NM_ERR_ARGUMENT, "rank: got 7, expected 1..6");
  a = good;
  a.d_stride = 8;
  NM_REFUSED(nm_eora(engine, &a), NM_ERR_ARGUMENT, "d_stride");
  a = good;
  a.taken = nullptr;
  NM_REFUSED(nm_eora(engine, &a), NM_ERR_ARGUMENT, "taken");
  int32_t stop = 1;
  a = good;
  a.cancel = &stop;
  NM_REFUSED(nm_eora(engine, &a), NM_ERR_CANCELLED, "cancelled");
  p.d[5 * 12 + 3] = std::numeric_limits<float>::infinity();
  NM_REFUSED(nm_eora(engine, &good), NM_ERR_ARGUMENT, "d[5,3]");
  p.d[5 * 12 + 3] = 0;
  p.gram[strip_place(4, 4)] = std::numeric_limits<double>::quiet_NaN();
  NM_REFUSED(nm_eora(engine, &good), NM_ERR_ARGUMENT, "gram[4,4]");
}
