// H = R R^T. Turned around (row and column K-1-i for i), H is U^T U, the Cholesky factorization that everyone knows, and
// factor[i,c] = U[c',i'] / U[c',c'], i' = K-1-i. In float64: blocks of two strips, each block row made from all rows above
// it (left-looking), so that an element is written once and the work of a strip is one product and one substitution.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "calibrate/gptq.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kBlock = 2 * kStrip;
constexpr int64_t kSlab = 128;  // rows of a strip of float64 that stay in the second cache
constexpr int kFloors = 6;

void check(const nm_gptq_factor_args& a) {
  check_range("order", a.order, NM_GPTQ_ORDER_NONE, NM_GPTQ_ORDER_GROUP_AWARE);
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("k", a.k, 1, INT32_MAX);
  check_range("group_size", a.group_size, 1, a.k);
  const int64_t count = triangle(strips_of(a.k));
  check_array("gram", a.gram, count);
  check_array("factor", a.factor, count);
  if ((a.cross == nullptr) != (a.cross_factor == nullptr))
    fail(NM_ERR_ARGUMENT, "%s: got NULL, expected both cross and cross_factor or neither",
         a.cross == nullptr ? "cross" : "cross_factor");
  if (a.cross != nullptr) {
    check_array("cross", a.cross, kStrip * kStrip * strips_of(a.k) * strips_of(a.k));
    check_array("cross_factor", a.cross_factor, count);
  }
  check_array("pivots", a.pivots, a.k);
  check_array("perm", a.perm, a.k);
  check_array("used", a.used, 2);
  check_array("cancel", a.cancel, 0);
  for (const auto& [name, value] : {std::pair{"damp", a.damp}, {"damp_increment", a.damp_increment}})
    if (!(value >= 0 && value <= 1)) fail(NM_ERR_ARGUMENT, "%s: got %g, expected 0..1", name, value);
  if (!std::isfinite(a.alpha)) fail(NM_ERR_ARGUMENT, "alpha: got %g, expected a finite number", a.alpha);
}

/** The columns in the order in which they are quantized; d: diagonal of H. */
void fill_order(const nm_gptq_factor_args& a, const std::vector<double>& d) {
  std::iota(a.perm, a.perm + a.k, 0);
  const auto falls = [&](int32_t x, int32_t y) { return d[static_cast<size_t>(x)] > d[static_cast<size_t>(y)]; };
  if (a.order == NM_GPTQ_ORDER_DESC_ACT) std::stable_sort(a.perm, a.perm + a.k, falls);
  if (a.order != NM_GPTQ_ORDER_GROUP_AWARE) return;
  const int64_t groups = a.k / a.group_size;
  std::vector<int32_t> natural(a.perm, a.perm + a.k), leads(static_cast<size_t>(groups));
  for (int64_t g = 0; g < groups; g++) {
    const auto first = natural.begin() + g * a.group_size;
    std::stable_sort(first, first + a.group_size, falls);
    leads[static_cast<size_t>(g)] = *first;
  }
  std::stable_sort(leads.begin(), leads.end(), falls);
  int32_t* to = a.perm;
  for (const int32_t lead : leads)
    to = std::copy_n(natural.begin() + lead / a.group_size * a.group_size, a.group_size, to);
}

class Factor {
 public:
  Factor(Engine& engine, const nm_gptq_factor_args& args)
      : engine_(engine), kernels_(*engine.kernels().gptq), a_(args), k_(args.k), strips_(strips_of(args.k)) {
    const int64_t count = triangle(strips_);
    u_ = engine.shared_work().get<double>(args.cross != nullptr ? 2 * count : count);
    m_ = u_ + count;
  }

  /** False when a pivot is not positive. */
  bool make(const std::vector<double>& diagonal, double floor, double damp) {
    fill(diagonal, floor, damp);
    for (int64_t begin = 0; begin < strips_ * kStrip; begin += kBlock)
      if (!block_row(begin, std::min(kBlock, strips_ * kStrip - begin))) return false;
    return true;
  }

  /** Factor, pivots and, with cross, its factor. */
  void write_results(const std::vector<double>& gram_diagonal);

 private:
  int64_t at(int64_t i) const { return a_.perm[k_ - 1 - i]; }
  template <class F>
  void for_strips(int64_t first, int64_t grain, F&& fn) {  // longest first
    engine_.parallel_for(strips_ - first, grain, a_.cancel, [&](int64_t begin, int64_t end, int) {
      for (int64_t s = begin; s < end; s++) fn(strips_ - 1 - s);
    });
  }
  void fill(const std::vector<double>& diagonal, double floor, double damp);
  bool block_row(int64_t begin, int64_t rows);
  bool diagonal_block(int64_t begin, int64_t rows);
  void solve_rows(double* strip, int64_t begin, int64_t rows) const;
  void write(const double* from, const std::vector<double>& scale, float* to);

  Engine& engine_;
  const GptqKernels& kernels_;
  const nm_gptq_factor_args& a_;
  const int64_t k_, strips_;
  double* u_;
  double* m_;
};

/** U = H turned around, damped; the identity beyond K. */
void Factor::fill(const std::vector<double>& diagonal, double floor, double damp) {
  double mean = 0;
  for (const double d : diagonal) mean += std::max(d, floor);
  mean /= static_cast<double>(k_);
  const double scale = 2 / static_cast<double>(a_.rows);
  for_strips(0, 1, [&](int64_t s) {
    for (int64_t i = 0; i < kStrip * (s + 1); i++)
      for (int64_t j = s * kStrip; j < kStrip * (s + 1); j++) {
        double x = i == j ? 1 : 0;
        if (j < k_ && i < j) x = scale * *at_triangle(a_.gram, std::min(at(i), at(j)), std::max(at(i), at(j)));
        if (j < k_ && i == j) x = std::max(diagonal[static_cast<size_t>(at(i))], floor) + damp * mean;
        *at_triangle(u_, i, j) = x;
      }
  });
}

/** Rows begin.. of a strip, all rows above them done: c = U^-T (c - U_above^T c_above). */
void Factor::solve_rows(double* strip, int64_t begin, int64_t rows) const {
  for (int64_t d = 0; d < begin; d += kSlab)
    for (int64_t p = begin; p < begin + rows; p += kNarrow)
      kernels_.subtract(at_triangle(u_, d, p), strip + kStrip * d, std::min(kSlab, begin - d), strip + kStrip * p);
  for (int64_t p = begin; p < begin + rows; p += kNarrow) {
    kernels_.subtract(at_triangle(u_, begin, p), strip + kStrip * begin, p - begin, strip + kStrip * p);
    kernels_.substitute(at_triangle(u_, p, p), strip + kStrip * p);
  }
}

bool Factor::block_row(int64_t begin, int64_t rows) {
  // The square on the diagonal first: its panels and strips, then its own factorization on one thread.
  const int64_t first = begin / kStrip, beyond = (begin + rows) / kStrip, panels = rows / kNarrow;
  const int64_t tile = kNarrow * kStrip * (begin + 1);
  engine_.parallel_for(panels * (beyond - first), (1 << 18) / tile + 1, a_.cancel, [&](int64_t from, int64_t to, int) {
    for (int64_t item = from; item < to; item++) {
      const int64_t p = begin + item % panels * kNarrow, s = first + item / panels;
      if (p >= (s + 1) * kStrip) continue;
      kernels_.subtract(at_triangle(u_, 0, p), at_triangle(u_, 0, s * kStrip), begin, at_triangle(u_, p, s * kStrip));
    }
  });
  if (!diagonal_block(begin, rows)) return false;
  const int64_t strip = rows * kStrip * (begin + rows);
  for_strips(beyond, (1 << 19) / strip + 1,
             [&](int64_t s) { solve_rows(at_triangle(u_, 0, s * kStrip), begin, rows); });
  return true;
}

bool Factor::diagonal_block(int64_t begin, int64_t rows) {
  for (int64_t p = begin; p < begin + rows; p += kNarrow) {
    double* const square = at_triangle(u_, p, p);  // 8 x 8
    for (int64_t s = p / kStrip; s < (begin + rows) / kStrip; s++)
      kernels_.subtract(at_triangle(u_, begin, p), at_triangle(u_, begin, s * kStrip), p - begin,
                        at_triangle(u_, p, s * kStrip));
    for (int64_t k = 0; k < kNarrow; k++) {
      double* const row = square + k * kStrip;
      if (!(row[k] > 0) || !std::isfinite(row[k])) return false;
      const double root = std::sqrt(row[k]);
      for (int64_t j = k; j < kNarrow; j++) row[j] /= root;
      row[k] = root;
      for (int64_t i = k + 1; i < kNarrow; i++)
        for (int64_t j = i; j < kNarrow; j++) square[i * kStrip + j] -= row[i] * row[j];
    }
    // Substitution in the strip of the square itself spoils it: it reads a copy, which is put back.
    double copy[kNarrow * kStrip];
    for (int64_t k = 0; k < kNarrow; k++) std::copy_n(square + k * kStrip, kNarrow, copy + k * kStrip);
    for (int64_t s = p / kStrip; s < (begin + rows) / kStrip; s++)
      kernels_.substitute(copy, at_triangle(u_, p, s * kStrip));
    for (int64_t k = 0; k < kNarrow; k++) std::copy_n(copy + k * kStrip, kNarrow, square + k * kStrip);
  }
  return true;
}

/** to[i,c] = scale[c] * from[c',i'] for i < c, turned back; 0 elsewhere. */
void Factor::write(const double* from, const std::vector<double>& scale, float* to) {
  for_strips(0, 1, [&](int64_t s) {
    const int64_t column = s * kStrip;
    std::fill_n(to + triangle(s), kStrip * kStrip * (s + 1), 0.0f);
    for (int64_t i = 0; i < std::min(column + kStrip, k_); i++)
      for (int64_t c = std::max(i + 1, column); c < std::min(column + kStrip, k_); c++)
        *at_triangle(to, i, c) =
            static_cast<float>(scale[static_cast<size_t>(c)] * *at_triangle(from, k_ - 1 - c, k_ - 1 - i));
  });
}

void Factor::write_results(const std::vector<double>& gram_diagonal) {
  std::vector<double> scale(static_cast<size_t>(k_));
  for (int64_t c = 0; c < k_; c++) {
    const double pivot = *at_triangle(u_, k_ - 1 - c, k_ - 1 - c);
    scale[static_cast<size_t>(c)] = 1 / pivot;
    a_.pivots[c] = gram_diagonal[static_cast<size_t>(a_.perm[c])] == 0 ? 0.0f : static_cast<float>(pivot);
  }
  write(u_, scale, a_.factor);
  if (a_.cross == nullptr) return;
  // M R^T = A, turned around and transposed: U^T M' = A', each strip for itself. Only A[i,c], i < c, is asked for.
  const double factor = 2 / static_cast<double>(a_.rows);
  for_strips(0, 1, [&](int64_t s) {
    for (int64_t c = 0; c < kStrip * (s + 1); c++)
      for (int64_t i = s * kStrip; i < kStrip * (s + 1); i++)
        *at_triangle(m_, c, i) = i < k_ && c < i ? factor * *at_full(a_.cross, strips_, at(i), at(c)) : 0;
    for (int64_t begin = 0; begin < kStrip * (s + 1); begin += kStrip) solve_rows(m_ + triangle(s), begin, kStrip);
  });
  for (double& x : scale) x *= a_.alpha;
  write(m_, scale, a_.cross_factor);
}

/** Plain rounding: R = I, nothing is carried over. */
void write_identity(const nm_gptq_factor_args& a) {
  const int64_t count = triangle(strips_of(a.k));
  std::fill_n(a.factor, count, 0.0f);
  if (a.cross_factor != nullptr) std::fill_n(a.cross_factor, count, 0.0f);
  std::fill_n(a.pivots, a.k, 1.0f);
  std::iota(a.perm, a.perm + a.k, 0);
  a.used[0] = -1;
  a.used[1] = 0;
}

/** The diagonal of 2 / rows * gram. */
std::vector<double> diagonal_of(const nm_gptq_factor_args& a) {
  std::vector<double> d(static_cast<size_t>(a.k));
  for (int64_t j = 0; j < a.k; j++) {
    const double x = *at_triangle(a.gram, j, j);
    if (!std::isfinite(x))
      fail(NM_ERR_ARGUMENT, "gram[%lld,%lld]: got %g: column %lld of the inputs is not finite",
           static_cast<long long>(j), static_cast<long long>(j), x, static_cast<long long>(j));
    d[static_cast<size_t>(j)] = 2 / static_cast<double>(a.rows) * x;
  }
  return d;
}

/** Tries damp after damp, floor after floor. */
bool factorize(Factor& factor, const nm_gptq_factor_args& a, const std::vector<double>& diagonal) {
  const double largest = *std::max_element(diagonal.begin(), diagonal.end());
  double floor = 0;
  for (int f = 0; f <= kFloors; f++, floor = f == 1 ? 1e-6 * largest : 10 * floor)
    for (int64_t step = 0; step == 0 || a.damp + static_cast<double>(step) * a.damp_increment < 1; step++) {
      const double damp = a.damp + static_cast<double>(step) * a.damp_increment;
      if (factor.make(diagonal, floor, damp)) {
        a.used[0] = damp;
        a.used[1] = floor;
        return true;
      }
      if (a.damp_increment == 0) break;
    }
  return false;
}

}  // namespace

void gptq_factor(Engine& engine, const nm_gptq_factor_args& a) {
  check(a);
  if (a.rows == 0) return write_identity(a);
  const std::vector<double> gram_diagonal = diagonal_of(a);
  std::vector<double> diagonal = gram_diagonal;
  for (double& d : diagonal)
    if (d == 0) d = 1;
  fill_order(a, diagonal);
  Factor factor(engine, a);
  if (factorize(factor, a, diagonal))
    factor.write_results(gram_diagonal);
  else
    write_identity(a);
}

}  // namespace nm
