// RMS and layer norms against float64.
#include <limits>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::on_every_tier;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

struct Case {
  int64_t rows, groups, cols;
  bool layer, weight, bias, in_place;
  float mean, size;  // of the elements
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int64_t cols = 1; cols <= 70; cols++)
    all.push_back({2, 1, cols, cols % 2 == 0, true, false, cols % 3 == 0, 0, 1});
  for (const int64_t cols : {127, 128, 129, 576, 1000, 4096, 5003})
    for (const bool layer : {false, true}) all.push_back({3, 1, cols, layer, true, layer, false, 0.5f, 2});
  for (const int64_t groups : {2, 3, 9})
    for (const bool in_place : {false, true}) all.push_back({4, groups, 64, false, true, false, in_place, 0, 1});
  all.push_back({2, 3, 65, true, false, false, true, 1, 1});
  all.push_back({2, 1, 80, false, false, false, false, 0, 1});
  all.push_back({2, 1, 80, true, false, true, false, 0, 1});
  all.push_back({2, 1, 300, true, true, true, false, 100, 1});      // the mean dwarfs the deviation
  all.push_back({2, 1, 300, false, true, false, false, 0, 1e-6f});  // eps decides
  all.push_back({300, 1, 2050, false, true, false, false, 0, 1});   // several chunks
  return all;
}

struct Buffers {
  int64_t width, x_stride, y_stride;
  Guarded<float> x, y, weight, bias;

  Buffers(const Case& c, Edge edge)
      : width(c.groups * c.cols),
        x_stride(width + 3),
        y_stride(c.in_place ? x_stride : width + 7),
        x((c.rows - 1) * x_stride + width, edge),
        y((c.rows - 1) * y_stride + width, edge),
        weight(c.cols, edge),
        bias(c.cols, edge) {
    Random random(static_cast<uint64_t>(c.cols * 31 + c.groups));
    for (float& v : x) v = c.mean + c.size * random.normal();
    for (float& v : weight) v = random.uniform(0.5f, 1.5f);
    for (float& v : bias) v = random.normal();
    for (float& v : y) v = 77;
  }
};

constexpr float kEps = 1e-5f;

void run(const TestEngine& engine, const Case& c, const Buffers& b, float* x, float* y) {
  nm_norm_args a = args<nm_norm_args>();
  a.eps = kEps;
  a.rows = c.rows;
  a.groups = c.groups;
  a.cols = c.cols;
  a.x = x;
  a.x_stride = b.x_stride;
  a.y = y;
  a.y_stride = b.y_stride;
  a.weight = c.weight ? b.weight.data() : nullptr;
  a.bias = c.bias ? b.bias.data() : nullptr;
  if (c.layer)
    NM_OK_CALL(nm_layer_norm(engine, &a));
  else
    NM_OK_CALL(nm_rms_norm(engine, &a));
}

/**
 * The exact group and a bound for float32 sums of n terms. rms: the sum of squares is off by gamma(n) relatively, its
 * root by half of that, and six roundings follow. layer: the mean is off by e = gamma(n) mean|x|, which moves every
 * x - mean, and the mean square of these by at most 2 e deviation + e^2, beside gamma(n + 2) of itself.
 */
void exact(const Case& c, const float* x, const float* weight, const float* bias, double* want, double* bound) {
  const double n = static_cast<double>(c.cols), eps = static_cast<double>(kEps);
  double mean = 0, sizes = 0, square = 0;
  for (int64_t i = 0; i < c.cols; i++) {
    mean += x[i] / n;
    sizes += std::fabs(x[i]) / n;
  }
  if (!c.layer) mean = 0;
  for (int64_t i = 0; i < c.cols; i++) square += (x[i] - mean) * (x[i] - mean) / n;
  const double root = std::sqrt(square + eps), e = c.layer ? nmtest::gamma(n + 1) * sizes : 0;
  const double relative =
      (nmtest::gamma(n + 2) * square + 2 * e * std::sqrt(square) + e * e) / (square + eps) / 2 + nmtest::gamma(8);
  for (int64_t i = 0; i < c.cols; i++) {
    const double w = c.weight ? static_cast<double>(weight[i]) : 1, b = c.bias ? static_cast<double>(bias[i]) : 0;
    const double scaled = (x[i] - mean) / root * w;
    want[i] = scaled + b;
    bound[i] = std::fabs(scaled) * 1.01 * relative +
               (e + nmtest::gamma(1) * std::fabs(x[i] - mean)) / root * std::fabs(w) * 1.01 +
               nmtest::gamma(2) * std::fabs(b) + 1e-44;
  }
}

}  // namespace

NM_TEST(norms_equal_float64_for_all_widths_groups_and_strides) {
  for (const Case& c : cases()) {
    for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
      on_every_tier([&](const TestEngine& engine) {
        Buffers b(c, edge);
        std::vector<float> x(b.x.begin(), b.x.end());
        float* y = c.in_place ? b.x.data() : b.y.data();
        run(engine, c, b, b.x.data(), y);
        std::vector<double> want(static_cast<size_t>(c.cols)), bound(want.size());
        for (int64_t r = 0; r < c.rows; r++) {
          for (int64_t g = 0; g < c.groups; g++) {
            exact(c, x.data() + r * b.x_stride + g * c.cols, b.weight.data(), b.bias.data(), want.data(), bound.data());
            const std::string what = nmtest::text("%s %s %lld x %lld x %lld", engine.tier_name(),
                                                  c.layer ? "layer" : "rms", static_cast<long long>(c.rows),
                                                  static_cast<long long>(c.groups), static_cast<long long>(c.cols));
            nmtest::check_close(what.c_str(), y + r * b.y_stride + g * c.cols, want.data(), c.cols,
                                [&](int64_t i) { return bound[static_cast<size_t>(i)]; });
          }
          for (int64_t i = b.width; r + 1 < c.rows && !c.in_place && i < b.y_stride; i++)
            NM_CHECK_MSG(b.y[r * b.y_stride + i] == 77, "padding of row %lld was written", static_cast<long long>(r));
        }
      });
    }
  }
}

NM_TEST(results_do_not_depend_on_the_number_of_threads) {
  const Case c = {400, 2, 1000, true, true, true, false, 1, 1};
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    const TestEngine one(tier, 1), four(tier, 4);
    Buffers a(c, Edge::kEnd), b(c, Edge::kEnd);
    run(one, c, a, a.x.data(), a.y.data());
    run(four, c, b, b.x.data(), b.y.data());
    nmtest::check_same_bits("threads", a.y.data(), b.y.data(), a.y.size());
  }
}

NM_TEST(a_nan_stays_in_its_group) {
  const Case c = {2, 2, 40, false, true, false, false, 0, 1};
  on_every_tier([&](const TestEngine& engine) {
    Buffers b(c, Edge::kEnd);
    b.x[b.x_stride + 45] = std::numeric_limits<float>::quiet_NaN();
    run(engine, c, b, b.x.data(), b.y.data());
    for (int64_t r = 0; r < 2; r++)
      for (int64_t i = 0; i < 80; i++) NM_CHECK(std::isnan(b.y[r * b.y_stride + i]) == (r == 1 && i >= 40));
  });
}

NM_TEST(wrong_arguments_are_named) {
  float x[16] = {}, y[16], w[8] = {};
  nm_norm_args good = args<nm_norm_args>();
  good.eps = kEps;
  good.rows = 2;
  good.groups = 1;
  good.cols = good.x_stride = good.y_stride = 8;
  good.x = x;
  good.y = y;
  good.weight = w;
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  NM_OK_CALL(nm_rms_norm(engine, &good));
  using A = nm_norm_args;
  struct Row {
    const char* fragment;
    void (*spoil)(A& a);
    int32_t status = NM_ERR_ARGUMENT;
  };
  const Row rows[] = {
      {"struct_size", [](A& a) { a.struct_size = 4; }, NM_ERR_STRUCT_SIZE},
      {"rows: got -1", [](A& a) { a.rows = -1; }},
      {"groups: got 0", [](A& a) { a.groups = 0; }},
      {"cols: got 0", [](A& a) { a.cols = 0; }},
      {"overflow", [](A& a) { a.groups = a.cols = int64_t{1} << 45; }},
      {"overflow", [](A& a) { a.x_stride = INT64_MAX; }},
      {"eps: got -1", [](A& a) { a.eps = -1; }},
      {"eps: got nan", [](A& a) { a.eps = std::numeric_limits<float>::quiet_NaN(); }},
      {"x: got NULL", [](A& a) { a.x = nullptr; }},
      {"y: got NULL", [](A& a) { a.y = nullptr; }},
      {"x_stride: got 7", [](A& a) { a.x_stride = 7; }},
      {"y_stride: got -8", [](A& a) { a.y_stride = -8; }},
      {"x: misaligned", [](A& a) { a.x = reinterpret_cast<const float*>(reinterpret_cast<uintptr_t>(a.x) + 1); }},
      {"weight: misaligned",
       [](A& a) { a.weight = reinterpret_cast<const float*>(reinterpret_cast<uintptr_t>(a.weight) + 2); }},
      {"y is x", [](A& a) { a.y = const_cast<float*>(a.x), a.x_stride = 9, a.rows = 2; }},
  };
  for (const Row& row : rows) {
    A a = good;
    row.spoil(a);
    NM_REFUSED(nm_rms_norm(engine, &a), row.status, row.fragment);
    NM_REFUSED(nm_layer_norm(engine, &a), row.status, row.fragment);
  }
  good.bias = w;
  NM_REFUSED(nm_rms_norm(engine, &good), NM_ERR_ARGUMENT, "bias: expected NULL");
  NM_REFUSED(nm_rms_norm(nullptr, &good), NM_ERR_HANDLE, "engine");
  NM_REFUSED(nm_layer_norm(engine, nullptr), NM_ERR_ARGUMENT, "args: got NULL");
  good.bias = nullptr;
  const int32_t cancel = 1;
  good.cancel = &cancel;
  NM_REFUSED(nm_rms_norm(engine, &good), NM_ERR_CANCELLED, "cancelled");
  good.rows = 0;
  good.cancel = nullptr;
  NM_OK_CALL(nm_rms_norm(engine, &good));
}
