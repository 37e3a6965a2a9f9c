// Activations against float64, over every exponent of float32.
#include <algorithm>
#include <cstring>
#include <limits>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::on_every_tier;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

double exact(int32_t kind, double x) {
  switch (kind) {
    case NM_SILU:
      return x < 0 ? x * std::exp(x) / (1 + std::exp(x)) : x / (1 + std::exp(-x));
    case NM_GELU:
      return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case NM_GELU_TANH: {
      const double u = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
      return u < 0 ? x * std::exp(2 * u) / (1 + std::exp(2 * u)) : x / (1 + std::exp(-2 * u));
    }
    default:
      return x > 0 ? x : 0;
  }
}

/**
 * Roundings on the way to one result: silu: the exponential (2), 1 + e, x e, the quotient: 5. gelu: the exponential and
 * its correction (4), the division, the polynomial of a ratio (4), three products: 12. gelu_tanh: exponential and
 * correction (4), what the correction itself lost (1), 1 + e, x e, the quotient: 8. One more for `up`. A result below the
 * normal range comes from a subnormal exponential, which has an absolute error of 2^-149: times |x|, or |x| 4 in gelu's
 * polynomial.
 */
double bound(int32_t kind, double x, double want, double up) {
  const double roundings[] = {5, 12, 8, 0};
  return nmtest::gamma(roundings[kind] + 1) * std::fabs(want * up) +
         (kind == NM_RELU ? 0 : std::ldexp(2 * std::fabs(x) + 1, -149) * std::fabs(up)) + std::ldexp(1.0, -149);
}

const char* const kNames[] = {"silu", "gelu", "gelu_tanh", "relu"};

void activate(const TestEngine& engine, int32_t kind, int64_t rows, int64_t cols, const float* x, int64_t x_stride,
              const float* up, int64_t up_stride, float* y, int64_t y_stride) {
  nm_activation_args a = args<nm_activation_args>();
  a.kind = kind;
  a.rows = rows;
  a.cols = cols;
  a.x = x;
  a.x_stride = x_stride;
  a.up = up;
  a.up_stride = up_stride;
  a.y = y;
  a.y_stride = y_stride;
  NM_OK_CALL(nm_activate(engine, &a));
}

}  // namespace

NM_TEST(each_function_is_within_its_roundings_over_all_of_float32) {
  std::vector<float> x;
  for (uint32_t bits = 0; bits < 0x7f800000u; bits += 3989) {  // some 530 thousand of either sign
    float v;
    std::memcpy(&v, &bits, sizeof v);
    x.push_back(v);
    x.push_back(-v);
  }
  for (float v = -16; v < 16; v += 1.0f / 8192) x.push_back(v);  // where the curves bend
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<double> want(x.size());
  for (int32_t kind = 0; kind < 4; kind++) {
    std::vector<double> off(x.size());
    for (size_t i = 0; i < x.size(); i++) {
      want[i] = exact(kind, x[i]);
      off[i] = bound(kind, x[i], want[i], 1);
    }
    on_every_tier([&](const TestEngine& engine) {
      std::vector<float> y(x.size());
      activate(engine, kind, 1, n, x.data(), n, nullptr, 0, y.data(), n);
      nmtest::check_close(nmtest::text("%s %s", engine.tier_name(), kNames[kind]).c_str(), y.data(), want.data(), n,
                          [&](int64_t i) { return off[static_cast<size_t>(i)]; });
    });
  }
}

namespace {

enum Place { kApart, kX, kUp };

/** Rows of x and up without gaps, and what float64 makes of them. */
struct Rows {
  Rows(int32_t of_kind, int64_t width) : kind(of_kind), cols(width), x(3 * at(cols)), up(x.size()) {
    Random random(static_cast<uint64_t>(cols));
    for (float& v : x) v = 3 * random.normal();
    for (float& v : up) v = random.normal();
    for (size_t i = 0; i < x.size(); i++) {
      const double one = exact(kind, x[i]);
      want.push_back(one * up[i]);
      off.push_back(bound(kind, x[i], one, up[i]));
    }
  }
  static size_t at(int64_t i) { return static_cast<size_t>(i); }

  int32_t kind;
  int64_t cols;
  std::vector<float> x, up;
  std::vector<double> want, off;
};

void check_rows(const TestEngine& engine, const Rows& rows, Place place, Edge edge) {
  const int64_t cols = rows.cols, xs = cols + 1, us = cols + 4, ys = place == kX ? xs : place == kUp ? us : cols + 2;
  Guarded<float> x(2 * xs + cols, edge), up(2 * us + cols, edge), apart(2 * ys + cols, edge);
  for (int64_t r = 0; r < 3; r++) {
    std::copy_n(rows.x.begin() + r * cols, cols, x.begin() + r * xs);
    std::copy_n(rows.up.begin() + r * cols, cols, up.begin() + r * us);
  }
  for (float& v : apart) v = 77;
  float* y = place == kX ? x.data() : place == kUp ? up.data() : apart.data();
  activate(engine, rows.kind, 3, cols, x.data(), xs, up.data(), us, y, ys);
  const std::string what =
      nmtest::text("%s %s cols=%lld", engine.tier_name(), kNames[rows.kind], static_cast<long long>(cols));
  for (int64_t r = 0; r < 3; r++) {
    nmtest::check_close(what.c_str(), y + r * ys, rows.want.data() + r * cols, cols,
                        [&](int64_t i) { return rows.off[Rows::at(r * cols + i)]; });
    for (int64_t i = cols; place == kApart && r < 2 && i < ys; i++) NM_CHECK(y[r * ys + i] == 77);
  }
}

}  // namespace

NM_TEST(all_widths_strides_and_in_place_forms) {
  std::vector<Rows> all;
  for (int32_t kind = 0; kind < 4; kind++)
    for (const int64_t cols : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 2047, 2048, 2049, 5000})
      all.emplace_back(kind, cols);
  on_every_tier([&](const TestEngine& engine) {
    for (const Rows& rows : all)
      for (const Place place : {kApart, kX, kUp})
        for (const Edge edge : {Edge::kEnd, Edge::kStart}) check_rows(engine, rows, place, edge);
  });
}

NM_TEST(nan_gives_nan_and_infinity_its_limit) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (int32_t kind = 0; kind < 4; kind++) {
    on_every_tier([&](const TestEngine& engine) {
      // In a whole vector and in a tail.
      std::vector<float> x(21, 1.0f), y(21);
      x[3] = x[19] = nan;
      x[4] = x[20] = inf;
      activate(engine, kind, 1, 21, x.data(), 21, nullptr, 0, y.data(), 21);
      for (size_t i = 0; i < 21; i++) {
        NM_CHECK_MSG(std::isnan(y[i]) == (i == 3 || i == 19), "%s %s", engine.tier_name(), kNames[kind]);
        NM_CHECK((y[i] == inf) == (i == 4 || i == 20));
      }
    });
  }
}

NM_TEST(results_do_not_depend_on_the_number_of_threads) {
  const int64_t rows = 300, cols = 3000;
  std::vector<float> x(static_cast<size_t>(rows * cols)), a(x.size()), b(x.size());
  Random random(4);
  for (float& v : x) v = random.normal();
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    const TestEngine one(tier, 1), four(tier, 4);
    activate(one, NM_GELU, rows, cols, x.data(), cols, x.data(), cols, a.data(), cols);
    activate(four, NM_GELU, rows, cols, x.data(), cols, x.data(), cols, b.data(), cols);
    nmtest::check_same_bits("threads", b.data(), a.data(), rows * cols);
  }
}

NM_TEST(wrong_arguments_are_named) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  float x[16] = {}, up[16] = {}, y[16];
  nm_activation_args good = args<nm_activation_args>();
  good.rows = 2;
  good.cols = good.x_stride = good.up_stride = good.y_stride = 8;
  good.x = x;
  good.up = up;
  good.y = y;
  NM_OK_CALL(nm_activate(engine, &good));
  using A = nm_activation_args;
  struct Row {
    const char* fragment;
    void (*spoil)(A& a);
    int32_t status = NM_ERR_ARGUMENT;
  };
  const Row rows[] = {
      {"struct_size", [](A& a) { a.struct_size = 1; }, NM_ERR_STRUCT_SIZE},
      {"kind: got 4", [](A& a) { a.kind = 4; }},
      {"kind: got -1", [](A& a) { a.kind = -1; }},
      {"rows: got -1", [](A& a) { a.rows = -1; }},
      {"cols: got -1", [](A& a) { a.cols = -1; }},
      {"x: got NULL", [](A& a) { a.x = nullptr; }},
      {"y: got NULL", [](A& a) { a.y = nullptr; }},
      {"x_stride: got 7", [](A& a) { a.x_stride = 7; }},
      {"up_stride: got 0", [](A& a) { a.up_stride = 0; }},
      {"y_stride: got 7", [](A& a) { a.y_stride = 7; }},
      {"up: misaligned", [](A& a) { a.up = reinterpret_cast<const float*>(reinterpret_cast<uintptr_t>(a.up) + 1); }},
      {"overflow", [](A& a) { a.x_stride = INT64_MAX; }},
      {"y is x", [](A& a) { a.y = const_cast<float*>(a.x), a.x_stride = 9; }},
      {"y is up", [](A& a) { a.y = const_cast<float*>(a.up), a.up_stride = 9; }},
  };
  for (const Row& row : rows) {
    A a = good;
    row.spoil(a);
    NM_REFUSED(nm_activate(engine, &a), row.status, row.fragment);
  }
  NM_REFUSED(nm_activate(nullptr, &good), NM_ERR_HANDLE, "engine");
  const int32_t cancel = 1;
  good.cancel = &cancel;
  NM_REFUSED(nm_activate(engine, &good), NM_ERR_CANCELLED, "cancelled");
  good.cancel = nullptr;
  good.cols = 0;
  NM_OK_CALL(nm_activate(engine, &good));
}
