// EoRA (Liu et al. 2024): of all B A of rank r, the one that takes most off the error D = W - Wq of a weight, as its outputs
// feel it: |X (D - B A)^T|^2 = |(D - B A) R|^2 with X^T X = G = R R^T.
//
// The paper takes the root R = Q sqrt(L) from the eigenvectors of G and B A = U_r S_r V_r^T R^-1 from the singular value
// decomposition D R = U S V^T. Whatever the root, S_r V_r^T = U_r^T D R, so that B A = U_r U_r^T D: neither root nor inverse
// is needed, and there are no small eigenvalues of G to take care of. U_r are the eigenvectors of M = (D R)(D R)^T = D G D^T
// with the largest eigenvalues, which are what they take off. Inputs that G has never seen are corrected by the same
// projection of D, so that |D - B A| <= |D| for them too; an inverse of G could make it large there.
//
// U_r comes from block Krylov spaces (Musco & Musco 2015): X, M X, M^2 X .. made orthonormal, M on that space solved, begun
// again with the best of it until that gains nothing. All products are in float64 by the tile of GPTQ; M itself is never made.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "calibrate/calibrate.h"
#include "calibrate/gptq.h"
#include "calibrate/symmetric_eigen.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kBeyond = 8;  // columns of X beyond the rank: they make the last ones converge
constexpr int64_t kBlocks = 4;  // of a Krylov space
constexpr int kRounds = 30;
constexpr double kGain = 1e-7;  // of what is taken off, by the last round

/** A matrix in strips of 48 columns, all of them `rows` long, a multiple of 48. */
struct Columns {
  double* data;
  int64_t rows, strips;
  double* at(int64_t row, int64_t strip) const { return data + (strip * rows + row) * kStrip; }
  double& operator()(int64_t i, int64_t j) const { return at(i, j / kStrip)[j % kStrip]; }
  int64_t count() const { return rows * strips * kStrip; }
  Columns first(int64_t n) const { return {data, rows, n}; }
  Columns from(int64_t strip, int64_t n) const { return {at(0, strip), rows, n}; }
};

class Eora {
 public:
  Eora(Engine& engine, const nm_eora_args& args);
  void run();

 private:
  template <class F>
  void for_strips(int64_t strips, F&& fn) {
    engine_.parallel_for(strips, 1, a_.cancel, [&](int64_t begin, int64_t end, int worker) {
      double* const tile = engine_.work(worker).get<double>(kStrip * kStrip);
      for (int64_t s = begin; s < end; s++) fn(s, tile);
    });
  }
  /** c[48][columns] -= tile^T b: rows `row` of c, rows `depth` of b. */
  void subtract(const double* tile, const Columns& b, int64_t depth, const Columns& c, int64_t row) const {
    for (int64_t s = 0; s < c.strips; s++)
      for (int64_t p = 0; p < kStrip; p += kNarrow)
        kernels_.subtract(tile + p, b.at(depth, s), kStrip, c.at(row + p, s));
  }
  static void clear(const Columns& c, int64_t row) {
    for (int64_t s = 0; s < c.strips; s++) std::fill_n(c.at(row, s), kStrip * kStrip, 0.0);
  }
  /** tile[i][j] = fn(row + i, column + j) within the bounds, 0 beyond. */
  template <class F>
  static void fill(double* tile, int64_t row, int64_t rows, int64_t column, int64_t columns, F&& fn) {
    for (int64_t i = 0; i < kStrip; i++)
      for (int64_t j = 0; j < kStrip; j++)
        tile[i * kStrip + j] = row + i < rows && column + j < columns ? fn(row + i, column + j) : 0;
  }
  double error(int64_t n, int64_t k) const { return double{a_.d[n * a_.d_stride + k]}; }

  void transposed_error(const Columns& x, const Columns& z);                              // z = D^T x
  void multiply(const Columns& x, const Columns& y);                                      // y = M x
  void inner(const Columns& a, const Columns& b, const Columns& c);                       // c = a^T b
  void add_product(double factor, const Columns& a, const Columns& b, const Columns& y);  // y += factor a b
  void set_product(const Columns& a, const Columns& b, const Columns& y);                 // y = a b
  int64_t orthonormalize(const Columns& y, bool scaled, double least);
  int64_t append(int64_t blocks);
  double solve(int64_t blocks);
  void write_results();

  Engine& engine_;
  const GptqKernels& kernels_;
  const nm_eora_args& a_;
  int64_t width_;         // strips of a block
  Columns q_, mq_;        // an orthonormal basis, and M times it
  Columns x_, mx_, y_;    // blocks
  Columns z_, gz_;        // [K][block]
  Columns small_, turn_;  // [basis][block]
  Columns square_;        // [basis][basis]
};

Eora::Eora(Engine& engine, const nm_eora_args& args)
    : engine_(engine), kernels_(*engine.kernels().gptq), a_(args), width_(strips_of(args.rank + kBeyond)) {
  const int64_t n = kStrip * strips_of(args.n), k = kStrip * strips_of(args.k), basis = kStrip * kBlocks * width_;
  const std::pair<Columns*, Columns> all[] = {
      {&q_, {nullptr, n, kBlocks * width_}}, {&mq_, {nullptr, n, kBlocks * width_}},
      {&x_, {nullptr, n, width_}},           {&mx_, {nullptr, n, width_}},
      {&y_, {nullptr, n, width_}},           {&z_, {nullptr, k, width_}},
      {&gz_, {nullptr, k, width_}},          {&small_, {nullptr, basis, width_}},
      {&turn_, {nullptr, basis, width_}},    {&square_, {nullptr, basis, kBlocks * width_}}};
  int64_t count = 0;
  for (const auto& [to, shape] : all) count += shape.count();
  double* memory = engine.shared_work().get<double>(count);
  for (const auto& [to, shape] : all) {
    *to = {memory, shape.rows, shape.strips};
    memory += shape.count();
  }
  for (int t = 0; t < engine.threads(); t++) engine.work(t).get<double>(kStrip * kStrip);
}

void Eora::transposed_error(const Columns& x, const Columns& z) {
  for_strips(strips_of(a_.k), [&](int64_t s, double* tile) {
    clear(z, s * kStrip);
    for (int64_t n = 0; n < a_.n; n += kStrip) {
      fill(tile, n, a_.n, s * kStrip, a_.k, [&](int64_t i, int64_t j) { return -error(i, j); });
      subtract(tile, x, n, z, s * kStrip);
    }
  });
}

void Eora::multiply(const Columns& x, const Columns& y) {
  transposed_error(x, z_);
  for_strips(strips_of(a_.k), [&](int64_t s, double* tile) {  // gz = -G z
    clear(gz_, s * kStrip);
    for (int64_t k = 0; k < a_.k; k += kStrip) {
      fill(tile, k, a_.k, s * kStrip, a_.k,
           [&](int64_t i, int64_t j) { return *at_triangle(a_.gram, std::min(i, j), std::max(i, j)); });
      subtract(tile, z_, k, gz_, s * kStrip);
    }
  });
  for_strips(strips_of(a_.n), [&](int64_t s, double* tile) {
    clear(y, s * kStrip);
    for (int64_t k = 0; k < a_.k; k += kStrip) {
      fill(tile, k, a_.k, s * kStrip, a_.n, [&](int64_t i, int64_t j) { return error(j, i); });
      subtract(tile, gz_, k, y, s * kStrip);
    }
  });
}

void Eora::inner(const Columns& a, const Columns& b, const Columns& c) {
  engine_.parallel_for(a.strips * b.strips, 1, a_.cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) {
      const int64_t i = item % a.strips, j = item / a.strips;
      double* const to = c.at(i * kStrip, j);
      std::fill_n(to, kStrip * kStrip, 0.0);
      for (int64_t p = 0; p < kStrip; p += kNarrow)
        kernels_.subtract(a.at(0, i) + p, b.at(0, j), a.rows, to + p * kStrip);
      for (int64_t e = 0; e < kStrip * kStrip; e++) to[e] = -to[e];
    }
  });
}

void Eora::add_product(double factor, const Columns& a, const Columns& b, const Columns& y) {
  for_strips(y.rows / kStrip, [&](int64_t s, double* tile) {
    for (int64_t j = 0; j < a.strips; j++) {
      const double* const square = a.at(s * kStrip, j);
      for (int64_t r = 0; r < kStrip; r++)
        for (int64_t c = 0; c < kStrip; c++) tile[c * kStrip + r] = -factor * square[r * kStrip + c];
      subtract(tile, b, j * kStrip, y, s * kStrip);
    }
  });
}

void Eora::set_product(const Columns& a, const Columns& b, const Columns& y) {
  std::fill_n(y.data, y.count(), 0.0);
  add_product(1, a, b, y);
}

/**
 * Makes the columns of y orthonormal by the eigenvectors of y^T y (Stathopoulos & Wu 2002), of y's columns scaled to length
 * 1 if `scaled`. Directions whose eigenvalue is not above `least` become 0; returned is how many did not.
 */
int64_t Eora::orthonormalize(const Columns& y, bool scaled, double least) {
  const int64_t b = y.strips * kStrip;
  inner(y, y, small_);
  std::vector<double> w(static_cast<size_t>(b * b)), vectors(w.size()), value(static_cast<size_t>(b)), scale(value);
  for (int64_t i = 0; i < b; i++) {
    const double square = small_(i, i);
    scale[static_cast<size_t>(i)] = !scaled ? 1 : square > 0 ? 1 / std::sqrt(square) : 0;
  }
  for (int64_t i = 0; i < b; i++)
    for (int64_t j = 0; j < b; j++)
      w[static_cast<size_t>(i * b + j)] =
          small_(std::min(i, j), std::max(i, j)) * scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)];
  symmetric_eigen(b, w.data(), value.data(), vectors.data());
  int64_t kept = 0;
  for (int64_t c = 0; c < b; c++) {
    const double v = value[static_cast<size_t>(c)];
    kept += v > least ? 1 : 0;
    for (int64_t j = 0; j < b; j++)
      turn_(j, c) =
          v > least ? scale[static_cast<size_t>(j)] * vectors[static_cast<size_t>(c * b + j)] / std::sqrt(v) : 0;
  }
  set_product(y, turn_, mx_);
  std::copy_n(mx_.data, y.count(), y.data);
  return kept;
}

/**
 * Makes y orthonormal, and orthogonal to the basis of so many blocks, and puts it behind them. The second pass takes away
 * what rounding left of the basis in directions that nearly lay in it; those that did lay in it, wholly.
 */
int64_t Eora::append(int64_t blocks) {
  int64_t kept = 0;
  for (const auto& [scaled, least] : {std::pair{true, 1e-12}, {false, .1}}) {
    if (blocks > 0) {
      const Columns basis = q_.first(blocks * width_);
      inner(basis, y_, small_);
      add_product(-1, basis, small_, y_);
    }
    kept = orthonormalize(y_, scaled, least);
  }
  std::copy_n(y_.data, y_.count(), q_.at(0, blocks * width_));
  return kept;
}

/** The largest eigenvalues of M on the basis of so many blocks: their vectors to x and mx, the sum of `rank` returned. */
double Eora::solve(int64_t blocks) {
  const int64_t m = blocks * width_ * kStrip, b = width_ * kStrip;
  inner(q_.first(blocks * width_), mq_.first(blocks * width_), square_);
  std::vector<double> t(static_cast<size_t>(m * m)), vectors(t.size()), value(static_cast<size_t>(m));
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < m; j++) t[static_cast<size_t>(i * m + j)] = (square_(i, j) + square_(j, i)) / 2;
  symmetric_eigen(m, t.data(), value.data(), vectors.data());
  for (int64_t c = 0; c < b; c++)
    for (int64_t j = 0; j < m; j++) turn_(j, c) = vectors[static_cast<size_t>(c * m + j)];
  set_product(q_.first(blocks * width_), turn_, x_);
  set_product(mq_.first(blocks * width_), turn_, mx_);
  double sum = 0;
  for (int64_t i = 0; i < a_.rank; i++) sum += std::max(0.0, value[static_cast<size_t>(i)]);
  return sum;
}

/** B = U sqrt(s), A = U^T D / sqrt(s), s the length of a row of U^T D: both sides are then alike, which half floats like. */
void Eora::write_results() {
  transposed_error(x_, z_);
  for (int64_t r = 0; r < a_.rank; r++) {
    double square = 0;
    for (int64_t k = 0; k < a_.k; k++) square += z_(k, r) * z_(k, r);
    const double length = std::sqrt(square), root = std::sqrt(length), inverse = length > 0 ? 1 / root : 0;
    for (int64_t k = 0; k < a_.k; k++) a_.a[r * a_.k + k] = static_cast<float>(z_(k, r) * inverse);
    for (int64_t n = 0; n < a_.n; n++) a_.b[n * a_.rank + r] = static_cast<float>(x_(n, r) * root);
  }
}

void Eora::run() {
  uint64_t state = 0x9E3779B97F4A7C15u;  // any start will do that is the same each time
  for (int64_t s = 0; s < width_; s++)
    for (int64_t i = 0; i < y_.rows; i++)
      for (int64_t j = 0; j < kStrip; j++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        y_.at(i, s)[j] = i < a_.n ? static_cast<double>(state >> 11) * 0x1p-52 - 1 : 0;
      }
  int64_t spanned = append(0);
  multiply(q_.first(width_), mq_.first(width_));
  double taken = 0;
  for (int round = 0; round < kRounds; round++) {
    int64_t blocks = 1, most = spanned;
    for (; blocks < kBlocks; blocks++) {
      std::copy_n(mq_.at(0, (blocks - 1) * width_), y_.count(), y_.data);
      const int64_t more = append(blocks);
      if (more == 0) break;
      most += more;
      multiply(q_.from(blocks * width_, width_), mq_.from(blocks * width_, width_));
    }
    const double before = std::exchange(taken, solve(blocks));
    const bool whole = blocks < kBlocks || most == a_.n;  // the space holds all that M can reach from X
    if (whole || (round > 0 && taken - before <= kGain * taken)) break;
    std::copy_n(x_.data, x_.count(), q_.data);
    std::copy_n(mx_.data, mx_.count(), mq_.data);
  }
  *a_.taken = taken;
  write_results();
}

void check(const nm_eora_args& a) {
  check_range("n", a.n, 1, INT32_MAX);
  check_range("k", a.k, 1, INT32_MAX);
  check_range("rank", a.rank, 1, std::min(a.n, a.k));
  check_matrix("d", a.d, a.n, a.k, a.d_stride);
  check_array("gram", a.gram, triangle(strips_of(a.k)));
  check_array("a", a.a, a.rank * a.k);
  check_array("b", a.b, a.n * a.rank);
  check_array("taken", a.taken, 1);
  check_array("cancel", a.cancel, 0);
  for (int64_t k = 0; k < a.k; k++)
    if (const double x = *at_triangle(a.gram, k, k); !std::isfinite(x))
      fail(NM_ERR_ARGUMENT, "gram[%lld,%lld]: got %g: column %lld of the inputs is not finite",
           static_cast<long long>(k), static_cast<long long>(k), x, static_cast<long long>(k));
  for (int64_t n = 0; n < a.n; n++)
    for (int64_t k = 0; k < a.k; k++)
      if (const float x = a.d[n * a.d_stride + k]; !std::isfinite(x))
        fail(NM_ERR_ARGUMENT, "d[%lld,%lld]: got %g, expected a finite number", static_cast<long long>(n),
             static_cast<long long>(k), double{x});
}

}  // namespace

void eora(Engine& engine, const nm_eora_args& args) {
  check(args);
  Eora(engine, args).run();
}

}  // namespace nm
