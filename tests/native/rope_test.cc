// The rotary table and the rotation against float64.
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
  int64_t t, heads, head_dim, half;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (int64_t half = 1; half <= 40; half++) all.push_back({2, 3, 2 * half, half});
  for (const int64_t half : {1, 7, 8, 12, 16, 20, 63}) all.push_back({3, 2, 128, half});  // partial
  all.push_back({2, 2, 81, 40});                                                          // odd head
  all.push_back({600, 9, 64, 32});                                                        // several chunks
  return all;
}

void rotate(const TestEngine& engine, const Case& c, int32_t interleaved, float* x, int64_t stride, const float* cos,
            const float* sin) {
  nm_rope_args a = args<nm_rope_args>();
  a.interleaved = interleaved;
  a.t = c.t;
  a.heads = c.heads;
  a.head_dim = c.head_dim;
  a.half = c.half;
  a.x = x;
  a.x_stride = stride;
  a.cos = cos;
  a.sin = sin;
  NM_OK_CALL(nm_rope(engine, &a));
}

}  // namespace

NM_TEST(rotation_equals_float64_and_leaves_the_rest_alone) {
  for (const Case& c : cases()) {
    const int64_t stride = c.heads * c.head_dim + 5, size = (c.t - 1) * stride + c.heads * c.head_dim;
    for (const int32_t interleaved : {0, 1}) {
      for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
        on_every_tier([&](const TestEngine& engine) {
          Guarded<float> x(size, edge), cos(c.t * c.half, edge), sin(c.t * c.half, edge);
          Random random(5);
          for (float& v : x) v = random.normal();
          for (int64_t i = 0; i < cos.size(); i++) {
            const float angle = random.uniform(-3, 3);
            cos[i] = std::cos(angle);
            sin[i] = std::sin(angle);
          }
          // Each result is two products and a sum: one rounding of each product, one of the sum.
          std::vector<double> want(x.begin(), x.end()), bound(want.size());
          for (int64_t t = 0; t < c.t; t++)
            for (int64_t h = 0; h < c.heads; h++)
              for (int64_t i = 0; i < c.half; i++) {
                const int64_t head = t * stride + h * c.head_dim;
                const size_t first = static_cast<size_t>(head + (interleaved != 0 ? 2 * i : i));
                const size_t second = first + static_cast<size_t>(interleaved != 0 ? 1 : c.half);
                const double a = want[first], b = want[second], co = cos[t * c.half + i], si = sin[t * c.half + i];
                want[first] = a * co - b * si;
                want[second] = b * co + a * si;
                bound[first] = nmtest::gamma(2) * (std::fabs(a * co) + std::fabs(b * si));
                bound[second] = nmtest::gamma(2) * (std::fabs(b * co) + std::fabs(a * si));
              }
          rotate(engine, c, interleaved, x.data(), stride, cos.data(), sin.data());
          const std::string what =
              nmtest::text("%s interleaved=%d head_dim=%lld half=%lld", engine.tier_name(), interleaved,
                           static_cast<long long>(c.head_dim), static_cast<long long>(c.half));
          nmtest::check_close(what.c_str(), x.data(), want.data(), size,
                              [&](int64_t i) { return bound[static_cast<size_t>(i)]; });
        });
      }
    }
  }
}

NM_TEST(the_table_is_float32_angles_and_float64_cosines_on_every_tier) {
  const int64_t T = 700, half = 24;
  Guarded<int32_t> positions(T);
  Guarded<float> inv_freq(half);
  for (int64_t t = 0; t < T; t++) positions[t] = static_cast<int32_t>(t < 350 ? t : 131072 - t);
  for (int64_t i = 0; i < half; i++) inv_freq[i] = static_cast<float>(std::pow(500000.0, -static_cast<double>(i) / 24));
  on_every_tier([&](const TestEngine& engine) {
    Guarded<float> cos(T * half), sin(T * half);
    nm_batch batch = args<nm_batch>();
    batch.tokens = T;
    batch.positions = positions.data();
    nm_rope_table_args a = args<nm_rope_table_args>();
    a.scale = 1.25f;
    a.half = half;
    a.batch = &batch;
    a.inv_freq = inv_freq.data();
    a.cos = cos.data();
    a.sin = sin.data();
    NM_OK_CALL(nm_rope_table(engine, &a));
    for (int64_t t = 0; t < T; t++)
      for (int64_t i = 0; i < half; i++) {
        const float angle = static_cast<float>(positions[t]) * inv_freq[i];
        NM_CHECK(cos[t * half + i] == static_cast<float>(1.25 * std::cos(static_cast<double>(angle))));
        NM_CHECK(sin[t * half + i] == static_cast<float>(1.25 * std::sin(static_cast<double>(angle))));
      }
  });
}

NM_TEST(results_do_not_depend_on_the_number_of_threads) {
  const Case c = {800, 9, 64, 30};
  std::vector<float> cos(static_cast<size_t>(c.t * c.half), 0.28f), sin(cos.size(), 0.96f);
  for (const int32_t tier : nmtest::tiers_but_of_linear()) {
    const TestEngine one(tier, 1), four(tier, 4);
    for (const int32_t interleaved : {0, 1}) {
      std::vector<float> x(static_cast<size_t>(c.t * 9 * 64));
      Random random(8);
      for (float& v : x) v = random.normal();
      std::vector<float> y = x;
      rotate(one, c, interleaved, x.data(), 9 * 64, cos.data(), sin.data());
      rotate(four, c, interleaved, y.data(), 9 * 64, cos.data(), sin.data());
      nmtest::check_same_bits("threads", y.data(), x.data(), static_cast<int64_t>(x.size()));
    }
  }
}

NM_TEST(wrong_arguments_are_named) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  float x[32] = {}, cos[8] = {}, sin[8] = {};
  nm_rope_args good = args<nm_rope_args>();
  good.t = 2;
  good.heads = 2;
  good.head_dim = 8;
  good.half = 4;
  good.x = x;
  good.x_stride = 16;
  good.cos = cos;
  good.sin = sin;
  NM_OK_CALL(nm_rope(engine, &good));
  using A = nm_rope_args;
  struct Row {
    const char* fragment;
    void (*spoil)(A& a);
    int32_t status = NM_ERR_ARGUMENT;
  };
  const Row rows[] = {
      {"struct_size", [](A& a) { a.struct_size = 0; }, NM_ERR_STRUCT_SIZE},
      {"interleaved: got 2", [](A& a) { a.interleaved = 2; }},
      {"t: got -1", [](A& a) { a.t = -1; }},
      {"heads: got 0", [](A& a) { a.heads = 0; }},
      {"head_dim: got 1", [](A& a) { a.head_dim = 1; }},
      {"half: got 5, expected 1..4", [](A& a) { a.half = 5; }},
      {"half: got 0", [](A& a) { a.half = 0; }},
      {"overflow", [](A& a) { a.heads = a.head_dim = int64_t{1} << 40; }},
      {"x: got NULL", [](A& a) { a.x = nullptr; }},
      {"x_stride: got 15", [](A& a) { a.x_stride = 15; }},
      {"cos: got NULL", [](A& a) { a.cos = nullptr; }},
      {"sin: got NULL", [](A& a) { a.sin = nullptr; }},
      {"cos: misaligned", [](A& a) { a.cos = reinterpret_cast<const float*>(reinterpret_cast<uintptr_t>(a.cos) + 1); }},
  };
  for (const Row& row : rows) {
    A a = good;
    row.spoil(a);
    NM_REFUSED(nm_rope(engine, &a), row.status, row.fragment);
  }
  NM_REFUSED(nm_rope(nullptr, &good), NM_ERR_HANDLE, "engine");
  const int32_t cancel = 1;
  good.cancel = &cancel;
  NM_REFUSED(nm_rope(engine, &good), NM_ERR_CANCELLED, "cancelled");

  int32_t positions[2] = {0, 1};
  nm_batch batch = args<nm_batch>();
  batch.tokens = 2;
  batch.positions = positions;
  nm_rope_table_args table = args<nm_rope_table_args>();
  table.scale = 1;
  table.half = 4;
  table.batch = &batch;
  table.inv_freq = x;
  table.cos = cos;
  table.sin = sin;
  NM_OK_CALL(nm_rope_table(engine, &table));
  nm_rope_table_args bad = table;
  bad.batch = nullptr;
  NM_REFUSED(nm_rope_table(engine, &bad), NM_ERR_ARGUMENT, "batch: got NULL");
  bad = table;
  bad.half = 0;
  NM_REFUSED(nm_rope_table(engine, &bad), NM_ERR_ARGUMENT, "half: got 0");
  bad = table;
  bad.inv_freq = nullptr;
  NM_REFUSED(nm_rope_table(engine, &bad), NM_ERR_ARGUMENT, "inv_freq: got NULL");
  bad = table;
  bad.sin = nullptr;
  NM_REFUSED(nm_rope_table(engine, &bad), NM_ERR_ARGUMENT, "sin: got NULL");
  bad = table;
  bad.scale = std::numeric_limits<float>::infinity();
  NM_REFUSED(nm_rope_table(engine, &bad), NM_ERR_ARGUMENT, "scale: got inf");
  positions[1] = -1;
  NM_REFUSED(nm_rope_table(engine, &table), NM_ERR_ARGUMENT, "batch.positions[1]: got -1");
}
