// Gram matrices: rows are laid out in strips, a thousand at a time so that two strips stay in the second cache, then
// every pair of strips of the triangle is one item of work. Each element has one owner and one order of summation.
#include <algorithm>
#include <cstring>

#include "calibrate/gptq.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kRows = 512;
constexpr int64_t kGroup = 4;

/** Columns of one strip of x, or of exact - x, as [rows][48]; zero beyond K. */
void lay_out(const nm_gram_args& a, bool difference, int64_t row, int64_t rows, int64_t strip, float* to) {
  const int64_t column = strip * kStrip, width = std::min(kStrip, a.k - column);
  for (int64_t t = row; t < row + rows; t++, to += kStrip) {
    const float* x = a.x + t * a.x_stride + column;
    if (difference) {
      const float* exact = a.exact + t * a.exact_stride + column;
      for (int64_t j = 0; j < width; j++) to[j] = exact[j] - x[j];
    } else {
      std::memcpy(to, x, static_cast<size_t>(width) * sizeof(float));
    }
    std::fill(to + width, to + kStrip, 0.0f);
  }
}

void check(const nm_gram_args& a) {
  check_range("k", a.k, 1, INT32_MAX);
  check_matrix("x", a.x, a.t, a.k, a.x_stride);
  check_array("gram", a.gram, triangle(strips_of(a.k)));
  if ((a.exact == nullptr) != (a.cross == nullptr))
    fail(NM_ERR_ARGUMENT, "%s: got NULL, expected both exact and cross or neither",
         a.exact == nullptr ? "exact" : "cross");
  if (a.exact != nullptr) {
    check_matrix("exact", a.exact, a.t, a.k, a.exact_stride);
    check_array("cross", a.cross, kStrip * kStrip * strips_of(a.k) * strips_of(a.k));
  }
  check_array("cancel", a.cancel, 0);
}

/**
 * fn(i, j) for all pairs of strips, i <= j unless `square`. An item of work is one strip i and a few j, which stay in the
 * second cache from i to i; those with most i come first.
 */
template <class F>
void for_pairs(Engine& engine, const int32_t* cancel, int64_t strips, bool square, F&& fn) {
  const int64_t groups = (strips - 1) / kGroup + 1;
  const auto height = [&](int64_t g) { return square ? strips : std::min((g + 1) * kGroup, strips); };
  int64_t items = 0;
  for (int64_t g = 0; g < groups; g++) items += height(g);
  const int64_t grain = std::clamp<int64_t>(items / (6 * engine.threads()), 1, 8);
  engine.parallel_for(items, grain, cancel, [&](int64_t begin, int64_t end, int) {
    int64_t g = groups - 1, first = 0;  // item of the group's first strip i
    for (int64_t item = begin; item < end; item++) {
      while (item >= first + height(g)) first += height(g--);
      const int64_t i = item - first;
      for (int64_t j = square ? g * kGroup : std::max(i, g * kGroup); j < std::min((g + 1) * kGroup, strips); j++)
        fn(i, j);
    }
  });
}

}  // namespace

void gram(Engine& engine, const nm_gram_args& a) {
  check(a);
  const GptqKernels& kernels = *engine.kernels().gptq;
  const GramTiles* const tiles = engine.kernels().gram_tiles;
  const int64_t strips = strips_of(a.k), most = std::min(kRows, a.t);
  const auto bytes_of = [&](int64_t rows) {
    return tiles != nullptr ? tiles->strip_bytes(rows) : rows * kStrip * static_cast<int64_t>(sizeof(float));
  };
  uint8_t* const x = engine.shared_work().get<uint8_t>(bytes_of(most) * strips * (a.exact != nullptr ? 2 : 1));
  uint8_t* const difference = x + bytes_of(most) * strips;
  if (tiles != nullptr)
    for (int t = 0; t < engine.threads(); t++) engine.work(t).get<float>(kRows * kStrip);
  for (int64_t row = 0; row < a.t; row += kRows) {
    const int64_t rows = std::min(kRows, a.t - row), one = bytes_of(rows);
    const auto bring = [&](bool from_difference, int64_t strip, uint8_t* to, int worker) {
      if (tiles == nullptr) return lay_out(a, from_difference, row, rows, strip, reinterpret_cast<float*>(to));
      float* const laid_out = engine.work(worker).get<float>(kRows * kStrip);
      lay_out(a, from_difference, row, rows, strip, laid_out);
      tiles->prepare(laid_out, rows, to);
    };
    const auto multiply = [&](const uint8_t* left, const uint8_t* right, double* to) {
      if (tiles != nullptr) return tiles->multiply(left, right, rows, to);
      for (int64_t p = 0; p < kStrip; p += kNarrow)
        kernels.gram(reinterpret_cast<const float*>(left) + p, reinterpret_cast<const float*>(right), rows,
                     to + p * kStrip);
    };
    engine.parallel_for(strips, 1, a.cancel, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t s = begin; s < end; s++) {
        bring(false, s, x + s * one, worker);
        if (a.exact != nullptr) bring(true, s, difference + s * one, worker);
      }
    });
    for_pairs(engine, a.cancel, strips, false, [&](int64_t i, int64_t j) {
      multiply(x + i * one, x + j * one, at_triangle(a.gram, i * kStrip, j * kStrip));
    });
    if (a.exact != nullptr)
      for_pairs(engine, a.cancel, strips, true, [&](int64_t i, int64_t j) {
        multiply(difference + i * one, x + j * one, at_full(a.cross, strips, i * kStrip, j * kStrip));
      });
  }
}

}  // namespace nm
