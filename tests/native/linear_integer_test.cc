// linear with int8 and int4 activations: on every tier the bits of a computation of its own; nothing outside the arrays;
// spans that are cut; the largest numbers; what chooses them.
#include <cmath>

#include "linear_cases.h"

using namespace nmtest;

namespace {

constexpr int64_t kSpan = 1 << 16;  // columns of a group that are summed as integers

/** A row of x as the header says: integers[K], and the scale of each column. */
struct Rounded {
  std::vector<int32_t> integers;
  std::vector<float> scale;
};

/** Columns of the weight in the order of its groups, which is that of the sums. */
std::vector<int64_t> by_group(const nm_weight& w) {
  std::vector<int64_t> order;
  const int64_t groups = (w.k - 1) / w.group_size + 1;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t k = 0; k < w.k; k++)
      if ((w.g_idx != nullptr ? w.g_idx[k] : k / w.group_size) == g) order.push_back(k);
  return order;
}

int64_t group_of(const nm_weight& w, int64_t k) { return w.g_idx != nullptr ? w.g_idx[k] : k / w.group_size; }

/** Where the span of order[from] ends. */
size_t span_end(const nm_weight& w, const std::vector<int64_t>& order, size_t from) {
  size_t to = from;
  while (to < order.size() && to - from < at(kSpan) && group_of(w, order[to]) == group_of(w, order[from])) to++;
  return to;
}

Rounded round_row(const nm_weight& w, const std::vector<int64_t>& order, const float* x, float most) {
  Rounded r{std::vector<int32_t>(at(w.k)), std::vector<float>(at(w.k))};
  float of_row = 0;
  for (int64_t k = 0; k < w.k; k++) of_row = std::max(of_row, std::fabs(x[k]));
  for (size_t from = 0; from < order.size();) {
    const size_t to = span_end(w, order, from);
    float largest = 0;
    for (size_t i = from; i < to; i++) largest = std::max(largest, std::fabs(x[order[i]]));
    if (w.activations != NM_ACTIVATIONS_AUTO) largest = of_row;
    for (; from < to; from++) {
      const size_t k = at(order[from]);
      r.integers[k] = static_cast<int32_t>(std::nearbyint(x[k] * (most / largest)));
      r.scale[k] = largest / most;
    }
  }
  return r;
}

/** One output: integer sums, each turned into float at the end of its span. */
float output(const nm_weight& w, const std::vector<int64_t>& order, const Rounded& x, int64_t n) {
  float total = 0;
  for (size_t from = 0; from < order.size();) {
    const size_t to = span_end(w, order, from);
    const int64_t g = group_of(w, order[from]);
    const int32_t zero = w.zeros != nullptr ? w.zeros[g * w.n + n] : 1 << (w.bits - 1);
    int64_t sum = 0;
    for (size_t i = from; i < to; i++) sum += (w.codes[n * w.k + order[i]] - zero) * x.integers[at(order[i])];
    NM_CHECK(sum == static_cast<int32_t>(sum));
    total = std::fma(w.scales[g * w.n + n], static_cast<float>(sum) * x.scale[at(order[from])], total);
    from = to;
  }
  return total;
}

/** x, bias and residual of M rows, and what the format makes of them. */
struct Rows {
  Rows(const nm_weight& w, int64_t rows, float of_most)
      : m(rows), most(of_most), x(at(m * w.k)), bias(at(w.n)), residual(at(m * w.n)) {
    fill(x, 1);
    fill(bias, 2);
    fill(residual, 3);
    if (m % 2 == 0) bias.clear();
    if (m % 3 == 0) residual.clear();
    const std::vector<int64_t> order = by_group(w);
    for (int64_t i = 0; i < m; i++) {
      const Rounded rounded = round_row(w, order, x.data() + i * w.k, most);
      for (int64_t n = 0; n < w.n; n++) {
        float one = output(w, order, rounded, n);
        if (!bias.empty()) one += bias[at(n)];
        if (!residual.empty()) one += residual[at(i * w.n + n)];
        want.push_back(one);
      }
    }
  }

  int64_t m;
  float most;
  std::vector<float> x, bias, residual;  // without gaps; the last two empty where there are none
  std::vector<float> want;
};

/** With strides, bias and residual between guard pages. */
void check_bits(const TestEngine& engine, const Weight& weight, const Bytes& image, const Rows& rows, Edge edge) {
  const nm_weight& w = weight.w;
  const int64_t m = rows.m, x_stride = m == 1 ? w.k : w.k + 3, y_stride = m == 1 ? w.n : w.n + 5;
  Guarded<float> x((m - 1) * x_stride + w.k, edge), y((m - 1) * y_stride + w.n, edge), bias(w.n, edge),
      residual(m * w.n, edge);
  for (int64_t i = 0; i < m; i++) std::copy_n(rows.x.begin() + i * w.k, w.k, x.begin() + i * x_stride);
  std::copy(rows.bias.begin(), rows.bias.end(), bias.begin());
  std::copy(rows.residual.begin(), rows.residual.end(), residual.begin());
  std::fill(y.begin(), y.end(), 12345.0f);
  nm_linear_args a = linear_args(image, m, x.data(), x_stride, y.data(), y_stride);
  a.bias = rows.bias.empty() ? nullptr : bias.data();
  a.residual = rows.residual.empty() ? nullptr : residual.data();
  a.residual_stride = w.n;
  NM_OK_CALL(nm_linear(engine, &a));
  const std::string what = text("%s, M %lld, %s, most %g", name(weight.shape).c_str(), static_cast<long long>(m),
                                engine.tier_name(), double{rows.most});
  for (int64_t i = 0; i < m; i++) {
    check_same_bits(what.c_str(), y.data() + i * y_stride, rows.want.data() + i * w.n, w.n);
    for (int64_t n = w.n; n < y_stride && i + 1 < m; n++) NM_CHECK(y[i * y_stride + n] == 12345.0f);
  }
}

const Shape kIntegers[] = {
    {4, 0, 1, 1, 1, false, false, false},      {4, 0, 16, 128, 128, true, false, true},
    {4, 0, 64, 256, 32, false, false, false},  {4, 0, 33, 172, 128, false, false, true},
    {4, 0, 100, 172, 172, true, false, false}, {4, 0, 7, 96, 64, false, true, false},
    {4, 0, 50, 160, 20, false, false, false},  {4, 0, 130, 600, 600, false, false, false},
    {4, 0, 96, 384, 16, false, true, true},    {3, 0, 49, 320, 64, false, false, false},
    {2, 0, 31, 129, 32, true, true, false},    {8, 0, 5, 3, 2, false, false, false},
    {8, 0, 48, 256, 128, true, false, false},  {8, 0, 129, 172, 64, false, false, true},
    {8, 0, 60, 300, 300, false, true, false},  {8, 0, 77, 1028, 1028, true, false, true},
    {6, 0, 80, 520, 260, true, false, false},
};

}  // namespace

NM_TEST(outputs_are_those_of_the_format_bit_for_bit_on_every_tier) {
  uint64_t seed = 1;
  for (const Shape& shape : kIntegers) {
    const Edge edge = seed % 2 == 0 ? Edge::kEnd : Edge::kStart;
    const Weight weight(shape, ++seed, edge);
    for (const int32_t asked : {NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_INT4})
      for (const bool by_weight : {false, true}) {
        nm_weight w = weight.w;
        w.activations = by_weight ? asked : NM_ACTIVATIONS_AUTO;
        std::vector<Rows> all;
        for (const int64_t m : {1, 2, 3, 4, 5, 7, 8, 14, 37})
          all.emplace_back(w, m, asked == NM_ACTIVATIONS_INT8 ? 127 : 7);
        on_every_linear_tier(
            [&](const TestEngine& engine) {
              const auto image = pack(engine, w, edge);
              for (const Rows& rows : all) check_bits(engine, weight, *image, rows, edge);
            },
            by_weight ? NM_ACTIVATIONS_AUTO : asked);
      }
  }
}

NM_TEST(a_group_longer_than_a_span_is_cut) {
  const Shape shape = {8, 0, 3, kSpan + 300, kSpan + 300, false, false, true};
  const Weight weight(shape, 1);
  const Rows rows(weight.w, 2, 127);
  on_every_linear_tier(
      [&](const TestEngine& engine) { check_bits(engine, weight, *pack(engine, weight.w), rows, Edge::kEnd); },
      NM_ACTIVATIONS_INT8);
}

NM_TEST(sums_of_the_largest_codes_and_int8_activations_do_not_overflow) {
  for (const int32_t bits : {4, 8}) {
    const Shape shape = {bits, 0, 17, kSpan, kSpan, false, false, true};
    Weight weight(shape, 1);
    const int32_t largest = (1 << bits) - 1;
    std::vector<uint8_t> codes(at(shape.n * shape.k), static_cast<uint8_t>(largest)), zeros(at(shape.n), 0);
    std::vector<float> scales(at(shape.n), 1.0f);
    weight.w.codes = codes.data();
    weight.w.zeros = zeros.data();
    weight.w.scales = scales.data();
    on_every_linear_tier(
        [&](const TestEngine& engine) {
          const auto image = pack(engine, weight.w);
          for (const float sign : {-1.0f, 1.0f}) {
            Guarded<float> x(3 * shape.k), y(3 * shape.n);
            std::fill(x.begin(), x.end(), sign);
            const nm_linear_args a = linear_args(*image, 3, x.data(), shape.k, y.data(), shape.n);
            NM_OK_CALL(nm_linear(engine, &a));
            const float want = static_cast<float>(largest) * static_cast<float>(kSpan);
            for (const float one : y) NM_CHECK(std::fabs(one - sign * want) <= want * 0x1p-22f);
          }
        },
        NM_ACTIVATIONS_INT8);
  }
}

NM_TEST(the_engine_overrides_what_the_weight_asks_for) {
  const Weight weight({8, 0, 20, 64, 64, true, false, false}, 3);
  nm_weight w = weight.w;
  const auto kernel = [&](int32_t tier, int32_t by_weight, int32_t by_engine) {
    const TestEngine engine(tier, 1, by_engine);
    w.activations = by_weight;
    const auto image = pack(engine, w);
    nm_linear_info info = args<nm_linear_info>();
    NM_OK_CALL(nm_linear_query(engine, image->data(), image->size(), &info));
    return std::string(info.kernel);
  };
  NM_CHECK(kernel(NM_TIER_REFERENCE, NM_ACTIVATIONS_AUTO, NM_ACTIVATIONS_AUTO) == "linear_i8_ref");
  NM_CHECK(kernel(NM_TIER_REFERENCE, NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_AUTO) == "linear_i8_i8_ref");
  NM_CHECK(kernel(NM_TIER_REFERENCE, NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_NEAR_EXACT) == "linear_i8_ref");
  for (const int32_t tier : tiers()) {
    if (tier == NM_TIER_REFERENCE) continue;
    const std::string name = name_of_tier(tier);
    NM_CHECK(kernel(tier, NM_ACTIVATIONS_AUTO, NM_ACTIVATIONS_AUTO) == "linear_i8_i16_" + name);
    NM_CHECK(kernel(tier, NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_AUTO) == "linear_i8_i8_" + name);
    NM_CHECK(kernel(tier, NM_ACTIVATIONS_INT4, NM_ACTIVATIONS_AUTO) == "linear_i8_i8_" + name);
    NM_CHECK(kernel(tier, NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_NEAR_EXACT) == "linear_i8_i16_" + name);
    NM_CHECK(kernel(tier, NM_ACTIVATIONS_INT8, NM_ACTIVATIONS_EXACT).find("i8_i") == std::string::npos);
  }
}

NM_TEST(zeros_are_zeros_and_what_is_not_finite_stays_in_its_row) {
  for (const int32_t by_weight : {NM_ACTIVATIONS_AUTO, NM_ACTIVATIONS_INT8}) {
    const Shape s = {4, 0, 20, 130, 32, false, true, false};
    const Weight weight(s, 1);
    nm_weight w = weight.w;
    w.activations = by_weight;
    on_every_linear_tier(
        [&](const TestEngine& engine) {
          const auto image = pack(engine, w);
          Guarded<float> x(9 * s.k), y(9 * s.n);
          fill(x, 6);
          x[3 * s.k + 7] = INFINITY;
          x[5 * s.k + 129] = NAN;
          std::fill(x.begin() + 7 * s.k, x.begin() + 8 * s.k, 0.0f);
          std::fill(x.begin() + 8 * s.k, x.end(), 1e-40f);
          const nm_linear_args a = linear_args(*image, 9, x.data(), s.k, y.data(), s.n);
          NM_OK_CALL(nm_linear(engine, &a));
          for (int64_t i = 0; i < 9; i++)
            for (int64_t n = 0; n < s.n; n++) {
              NM_CHECK(std::isfinite(y[i * s.n + n]) == (i != 3 && i != 5));
              if (i >= 7) NM_CHECK(std::fabs(y[i * s.n + n]) < 1e-30f);
            }
        },
        NM_ACTIVATIONS_INT8);
  }
}

NM_TEST(no_flipped_bit_of_an_image_leads_outside_its_arrays_with_int8_activations) {
  const Shape s = {8, 0, 20, 130, 32, false, true, false};
  const Weight weight(s, 1);
  on_every_linear_tier(
      [&](const TestEngine& engine) {
        const auto image = pack(engine, weight.w);
        Guarded<float> x(5 * s.k), y(5 * s.n);
        for (int64_t bit = 0; bit < 1024 * 8; bit++) {
          uint8_t& byte = (*image)[bit / 8];
          byte = static_cast<uint8_t>(byte ^ (1 << bit % 8));
          const nm_linear_args a = linear_args(*image, 5, x.data(), s.k, y.data(), s.n);
          const int32_t status = nm_linear(engine, &a);
          NM_CHECK(status == NM_OK || status == NM_ERR_ARGUMENT);
          byte = static_cast<uint8_t>(byte ^ (1 << bit % 8));
        }
      },
      NM_ACTIVATIONS_INT8);
}
