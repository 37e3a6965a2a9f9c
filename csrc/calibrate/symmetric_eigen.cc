// Householder reflections make the matrix tridiagonal, implicitly shifted QL steps make it diagonal (Golub & Van Loan,
// Matrix Computations, 8.3). Eigenvectors are kept as rows, so that every inner loop walks along memory.
#include "calibrate/symmetric_eigen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/status.h"

namespace nm {
namespace {

constexpr int kSteps = 60;          // of QL for one eigenvalue; two as a rule
constexpr double kNothing = 1e-40;  // the square of what is far below the last bit of the largest element

double dot(const double* x, const double* y, int64_t n) {
  double sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t j = 0; j < 8; j++) sum[j] += x[i + j] * y[i + j];
  double rest = 0;
  for (; i < n; i++) rest += x[i] * y[i];
  return std::accumulate(sum, sum + 8, rest);
}

void add_scaled(double factor, const double* x, int64_t n, double* y) {
  for (int64_t i = 0; i < n; i++) y[i] += factor * x[i];
}

/** P a P^T = T: its diagonal d[n], what is beside it e[n - 1], and P [n][n]. The largest element of a is 1. */
void tridiagonalize(int64_t n, double* a, double* d, double* e, double* p) {
  std::fill_n(p, n * n, 0.0);
  for (int64_t i = 0; i < n; i++) p[i * n + i] = 1;
  std::vector<double> w(static_cast<size_t>(n)), u(static_cast<size_t>(n));
  for (int64_t k = 0; k + 1 < n; k++) {
    const int64_t first = k + 1, count = n - first;
    double* const v = a + k * n + first;  // of row k, which nobody else reads any more
    const double beyond = dot(v + 1, v + 1, count - 1);
    if (beyond < kNothing) {
      e[k] = v[0];
      continue;
    }
    e[k] = v[0] > 0 ? -std::sqrt(v[0] * v[0] + beyond) : std::sqrt(v[0] * v[0] + beyond);
    v[0] -= e[k];
    const double beta = 2 / (v[0] * v[0] + beyond);
    // A -= v w^T + w v^T on what is left, w = beta A v - (beta^2 / 2 v^T A v) v
    for (int64_t i = 0; i < count; i++) w[static_cast<size_t>(i)] = beta * dot(a + (first + i) * n + first, v, count);
    add_scaled(-beta / 2 * dot(v, w.data(), count), v, count, w.data());
    for (int64_t i = 0; i < count; i++) {
      double* const row = a + (first + i) * n + first;
      const double vi = v[i], wi = w[static_cast<size_t>(i)];
      for (int64_t j = 0; j < count; j++) row[j] -= vi * w[static_cast<size_t>(j)] + wi * v[j];
    }
    // P = (I - beta v v^T) P
    std::fill(u.begin(), u.end(), 0.0);
    for (int64_t i = 0; i < count; i++) add_scaled(v[i], p + (first + i) * n, n, u.data());
    for (int64_t i = 0; i < count; i++) add_scaled(-beta * v[i], u.data(), n, p + (first + i) * n);
  }
  for (int64_t i = 0; i < n; i++) d[i] = a[i * n + i];
}

/** One QL step on the rows [l, m] of the tridiagonal matrix, and its rotations on the rows of p. */
void ql_step(int64_t n, int64_t l, int64_t m, double* d, double* e, double* p) {
  double g = (d[l + 1] - d[l]) / (2 * e[l]);
  g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
  double s = 1, c = 1, shift = 0;
  for (int64_t i = m - 1; i >= l; i--) {
    const double f = s * e[i], b = c * e[i], r = std::hypot(f, g);
    e[i + 1] = r;
    if (r == 0) {  // split by underflow
      d[i + 1] -= shift;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - shift;
    const double t = (d[i] - g) * s + 2 * c * b;
    shift = s * t;
    d[i + 1] = g + shift;
    g = c * t - b;
    double *const low = p + i * n, *const high = low + n;
    for (int64_t j = 0; j < n; j++) {
      const double x = low[j], y = high[j];
      high[j] = s * x + c * y;
      low[j] = c * x - s * y;
    }
  }
  d[l] -= shift;
  e[l] = g;
  e[m] = 0;
}

}  // namespace

void symmetric_eigen(int64_t n, double* a, double* value, double* vectors) {
  std::vector<double> d(static_cast<size_t>(n)), e(static_cast<size_t>(n)), p(static_cast<size_t>(n * n));
  double scale = 0;
  for (int64_t i = 0; i < n * n; i++) scale = std::max(scale, std::fabs(a[i]));
  for (int64_t i = 0; scale > 0 && i < n * n; i++) a[i] /= scale;
  tridiagonalize(n, a, d.data(), e.data(), p.data());
  double largest = 0;  // below its last bit a rotation moves nothing that the tridiagonal form has not moved already
  for (int64_t i = 0; i < n; i++)
    largest = std::max(largest, std::fabs(d[static_cast<size_t>(i)]) + std::fabs(e[static_cast<size_t>(i)]));
  const double least = std::numeric_limits<double>::epsilon() * largest;
  const auto negligible = [&](int64_t i) { return std::fabs(e[static_cast<size_t>(i)]) <= least; };
  for (int64_t l = 0; l < n; l++) {
    for (int step = 0;; step++) {
      int64_t m = l;
      while (m + 1 < n && !negligible(m)) m++;
      if (m == l) break;
      if (step == kSteps)
        fail(NM_ERR_INTERNAL, "the eigenvalues of a %lld x %lld matrix did not converge", static_cast<long long>(n),
             static_cast<long long>(n));
      ql_step(n, l, m, d.data(), e.data(), p.data());
    }
  }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t x, int64_t y) { return d[static_cast<size_t>(x)] > d[static_cast<size_t>(y)]; });
  for (int64_t i = 0; i < n; i++) {
    const int64_t from = order[static_cast<size_t>(i)];
    value[i] = scale * d[static_cast<size_t>(from)];
    std::copy_n(p.data() + from * n, n, vectors + i * n);
  }
}

}  // namespace nm
