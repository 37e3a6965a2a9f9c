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
  const int64_t strips = strips_of(a.k), most = std::min(kRows, a.t);
  float* const x = engine.shared_work().get<float>(most * strips * kStrip * (a.exact != nullptr ? 2 : 1));
  float* const difference = x + most * strips * kStrip;
  for (int64_t row = 0; row < a.t; row += kRows) {
    const int64_t rows = std::min(kRows, a.t - row), one = rows * kStrip;
    engine.parallel_for(strips, 1, a.cancel, [&](int64_t begin, int64_t end, int) {
      for (int64_t s = begin; s < end; s++) {
        lay_out(a, false, row, rows, s, x + s * one);
        if (a.exact != nullptr) lay_out(a, true, row, rows, s, difference + s * one);
      }
    });
    for_pairs(engine, a.cancel, strips, false, [&](int64_t i, int64_t j) {
      for (int64_t p = 0; p < kStrip; p += kNarrow)
        kernels.gram(x + i * one + p, x + j * one, rows, at_triangle(a.gram, i * kStrip + p, j * kStrip));
    });
    if (a.exact != nullptr)
      for_pairs(engine, a.cancel, strips, true, [&](int64_t i, int64_t j) {
        for (int64_t p = 0; p < kStrip; p += kNarrow)
          kernels.gram(difference + i * one + p, x + j * one, rows,
                       at_full(a.cross, strips, i * kStrip + p, j * kStrip));
      });
  }
}

}  // namespace nm
