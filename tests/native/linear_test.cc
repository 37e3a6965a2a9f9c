// linear: every layout, tier and tail against float64; the same bits in any batch; nothing outside the arrays; damaged
// images and bad arguments are errors.
#include "linear_cases.h"

#include "linear/image.h"

using namespace nmtest;

namespace {

/**
 * How far an element of x moves when it is rounded to 16 bits by the largest of its block: half a step of largest / 32767,
 * and 32767 * 2^-23 of a step, since x / step is itself rounded twice.
 */
double narrowed(double largest) { return (0.5 + 32767 * 0x1p-23) * largest / 32767; }

/** x, bias and residual of M rows, and what float64 makes of them. */
struct Rows {
  Rows(const Weight& weight, int64_t rows)
      : m(rows), x(at(m * weight.shape.k)), bias(at(weight.shape.n)), residual(at(m * weight.shape.n)) {
    const int64_t N = weight.shape.n, K = weight.shape.k;
    fill(x, 1);
    fill(bias, 2);
    fill(residual, 3);
    if (m % 2 == 0) bias.clear();
    if (m % 3 == 0) residual.clear();
    for (int64_t i = 0; i < m; i++)
      for (int64_t n = 0; n < N; n++) {
        double sum = bias.empty() ? 0 : double{bias[at(n)]}, all = std::fabs(sum), largest = 0, weights = 0;
        for (int64_t k = 0; k < K; k++) {
          const double one = double{x[at(i * K + k)]}, weight_of_k = weight.value[at(n * K + k)];
          sum += one * weight_of_k;
          all += std::fabs(one * weight_of_k);
          largest = std::max(largest, std::fabs(one));
          weights += std::fabs(weight_of_k);
        }
        moved.push_back(narrowed(largest) * weights);
        if (!residual.empty()) {
          sum += double{residual[at(i * N + n)]};
          all += std::fabs(double{residual[at(i * N + n)]});
        }
        want.push_back(sum);
        size.push_back(all);
      }
  }

  int64_t m;
  std::vector<float> x, bias, residual;  // without gaps; the last two empty where there are none
  std::vector<double> want, size;        // [M,N]; size: the sum of all |terms|
  std::vector<double> moved;             // by x of 16 bits
};

std::vector<Rows> rows_of(const Weight& weight, std::initializer_list<int64_t> ms) {
  std::vector<Rows> all;
  for (const int64_t m : ms) all.emplace_back(weight, m);
  return all;
}

/** One product with strides, bias and residual between guard pages, against float64. */
void check_product(const TestEngine& engine, const Weight& weight, const Rows& rows, const Bytes& image, Edge edge,
                   int32_t activations = NM_ACTIVATIONS_AUTO) {
  const Shape& s = weight.shape;
  const int64_t m = rows.m;
  const int64_t x_stride = m == 1 ? s.k : s.k + 3, y_stride = m == 1 ? s.n : s.n + 5, r_stride = m == 1 ? s.n : s.n + 1;
  Guarded<float> x((m - 1) * x_stride + s.k, edge), y((m - 1) * y_stride + s.n, edge), bias(s.n, edge),
      residual((m - 1) * r_stride + s.n, edge);
  std::fill(y.begin(), y.end(), 12345.0f);
  std::copy(rows.bias.begin(), rows.bias.end(), bias.begin());
  for (int64_t i = 0; i < m; i++) {
    std::copy_n(rows.x.begin() + i * s.k, s.k, x.begin() + i * x_stride);
    if (!rows.residual.empty()) std::copy_n(rows.residual.begin() + i * s.n, s.n, residual.begin() + i * r_stride);
  }
  nm_linear_args a = linear_args(image, m, x.data(), x_stride, y.data(), y_stride);
  a.bias = rows.bias.empty() ? nullptr : bias.data();
  a.residual = rows.residual.empty() ? nullptr : residual.data();
  a.residual_stride = r_stride;
  NM_OK_CALL(nm_linear(engine, &a));

  const double roundings = engine.tier() == NM_TIER_REFERENCE ? 1 : weight.roundings();
  const bool int16 = engine.tier() != NM_TIER_REFERENCE && s.bits != 0 && activations == NM_ACTIVATIONS_AUTO;
  std::vector<float> got;
  for (int64_t i = 0; i < m; i++) {
    got.insert(got.end(), y.begin() + i * y_stride, y.begin() + i * y_stride + s.n);
    for (int64_t n = s.n; n < y_stride && i + 1 < m; n++)
      NM_CHECK_MSG(y[i * y_stride + n] == 12345.0f, "%s wrote between rows of y", name(s).c_str());
  }
  const std::string what =
      nmtest::text("%s, M %lld, %s", name(s).c_str(), static_cast<long long>(m), engine.tier_name());
  nmtest::check_close(what.c_str(), got.data(), rows.want.data(), static_cast<int64_t>(got.size()), [&](int64_t i) {
    const double moved = int16 ? rows.moved[at(i)] : 0;
    return nmtest::gamma(roundings) * (rows.size[at(i)] + moved) + moved;
  });
}

const Shape kShapes[] = {
    // float weights: every tail of N and K, blocks of 256
    {0, NM_F32, 1, 1, 0, false, false, false},
    {0, NM_F32, 17, 7, 0, false, false, false},
    {0, NM_F32, 33, 300, 0, false, false, false},
    {0, NM_F32, 100, 513, 0, false, false, false},
    {0, NM_F16, 15, 64, 0, false, false, false},
    {0, NM_F16, 65, 172, 0, false, false, false},
    {0, NM_F16, 130, 257, 0, false, false, false},
    {0, NM_BF16, 16, 256, 0, false, false, false},
    {0, NM_BF16, 31, 129, 0, false, false, false},
    {0, NM_BF16, 144, 520, 0, false, false, false},
    // 4-bit codes: whole lines, short last groups, groups that are no multiple of a line, act-order
    {4, 0, 1, 1, 1, false, false, false},
    {4, 0, 16, 128, 128, true, false, true},
    {4, 0, 64, 256, 32, false, false, false},
    {4, 0, 33, 172, 128, false, false, true},
    {4, 0, 100, 172, 172, true, false, false},
    {4, 0, 7, 96, 64, false, true, false},
    {4, 0, 50, 160, 20, false, false, false},
    {4, 0, 130, 600, 600, false, false, false},
    {4, 0, 96, 384, 16, false, true, true},
    {4, 0, 40, 40, 1, false, true, false},
    {3, 0, 49, 320, 64, false, false, false},
    {2, 0, 31, 129, 32, true, true, false},
    // 8-bit codes
    {8, 0, 5, 3, 2, false, false, false},
    {8, 0, 48, 256, 128, true, false, false},
    {8, 0, 129, 172, 64, false, false, true},
    {8, 0, 60, 300, 300, false, true, false},
    {7, 0, 18, 66, 33, false, false, false},
    {6, 0, 80, 520, 260, true, false, false},
    {5, 0, 20, 136, 17, false, true, false},
};

}  // namespace

NM_TEST(every_layout_agrees_with_float64_and_stays_inside_its_arrays) {
  uint64_t seed = 1;
  for (const Shape& shape : kShapes) {
    const Edge edge = seed % 2 == 0 ? Edge::kEnd : Edge::kStart;
    const Weight weight(shape, ++seed, edge);
    const std::vector<Rows> all = rows_of(weight, {1, 2, 3, 4, 5, 6, 7, 8, 14, 37});
    for (const int32_t activations : {NM_ACTIVATIONS_AUTO, NM_ACTIVATIONS_EXACT}) {
      if (shape.bits == 0 && activations == NM_ACTIVATIONS_EXACT) continue;
      on_every_linear_tier(
          [&](const TestEngine& engine) {
            const auto image = pack(engine, weight.w, edge);
            for (const Rows& rows : all) check_product(engine, weight, rows, *image, edge, activations);
          },
          activations);
    }
  }
}

NM_TEST(chunks_of_many_threads_cover_large_weights) {
  const Shape shapes[] = {{0, NM_F32, 1000, 600, 0, false, false, false},
                          {4, 0, 2000, 1000, 128, false, true, true},
                          {8, 0, 1100, 700, 64, false, false, false}};
  for (const Shape& shape : shapes) {
    const Weight weight(shape, 77);
    const std::vector<Rows> all = rows_of(weight, {1, 4, 9});
    on_every_linear_tier([&](const TestEngine& engine) {
      const auto image = pack(engine, weight.w);
      for (const Rows& rows : all) check_product(engine, weight, rows, *image, Edge::kEnd);
    });
  }
}

NM_TEST(every_tail_of_many_rows_and_more_rows_than_a_block) {
  const Shape shape = {4, 0, 40, 300, 128, false, false, true};
  const Weight weight(shape, 5);
  const std::vector<Rows> all = rows_of(weight, {33, 34, 35, 36, 38, 39, 40, 240, 257, 523});
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    for (const Rows& rows : all) check_product(engine, weight, rows, *image, Edge::kEnd);
  });
}

NM_TEST(a_row_has_the_same_bits_alone_and_in_any_batch_threads_and_vector_tier) {
  const Shape shapes[] = {{0, NM_F32, 290, 300, 0, false, false, false},  {0, NM_F16, 50, 300, 0, false, false, false},
                          {0, NM_BF16, 600, 300, 0, false, false, false}, {4, 0, 1000, 300, 128, false, false, true},
                          {4, 0, 300, 520, 520, false, true, false},      {8, 0, 70, 300, 32, false, true, false}};
  constexpr int64_t kRows = 257;  // more than a block of rows
  for (const Shape& s : shapes) {
    const Weight weight(s, 11);
    Guarded<float> x(kRows * s.k);
    fill(x, 4);
    std::vector<float> first;  // of the first vector engine, all rows at once
    on_every_linear_tier([&](const TestEngine& engine) {
      const auto image = pack(engine, weight.w);
      Guarded<float> all(kRows * s.n), some(kRows * s.n);
      nm_linear_args a = linear_args(*image, kRows, x.data(), s.k, all.data(), s.n);
      NM_OK_CALL(nm_linear(engine, &a));
      const std::string what = name(s) + " " + engine.tier_name();
      if (engine.tier() != NM_TIER_REFERENCE) {
        if (first.empty()) first.assign(all.begin(), all.end());
        nmtest::check_same_bits((what + " against the first engine").c_str(), all.data(), first.data(), kRows * s.n);
      }
      for (const int64_t m : {1, 2, 3, 4, 5, 11, 37}) {
        const int64_t from = 100 - m;
        a = linear_args(*image, m, x.data() + from * s.k, s.k, some.data(), s.n);
        NM_OK_CALL(nm_linear(engine, &a));
        nmtest::check_same_bits((what + nmtest::text(" M %lld", static_cast<long long>(m))).c_str(), some.data(),
                                all.data() + from * s.n, m * s.n);
      }
    });
  }
}

NM_TEST(codes_times_integers_of_16_bits_are_exact) {
  // The largest of each block is 32767, so that x is its own image; scales are 1. Then only the sum of blocks, below
  // 2^24 here in every prefix or else rounded once a block, is not integer arithmetic.
  for (const int32_t bits : {4, 8}) {
    const Shape s = {bits, 0, 50, 1000, 200, false, false, true};
    Weight weight(s, 12);
    std::vector<float> ones(at(5 * s.n), 1.0f);
    weight.w.scales = ones.data();
    on_every_linear_tier([&](const TestEngine& engine) {
      if (engine.tier() == NM_TIER_REFERENCE) return;
      const auto image = pack(engine, weight.w);
      for (const int64_t m : {1, 2, 3, 7, 13}) {
        Guarded<float> x(m * s.k), y(m * s.n);
        Random random(3);
        for (float& one : x) one = static_cast<float>(random.below(65535) - 32767);
        for (int64_t i = 0; i < x.size(); i += s.group) x[i] = -32767;
        const nm_linear_args a = linear_args(*image, m, x.data(), s.k, y.data(), s.n);
        NM_OK_CALL(nm_linear(engine, &a));
        std::vector<float> want;
        for (int64_t r = 0; r < m; r++)
          for (int64_t n = 0; n < s.n; n++) {
            float total = 0;
            for (int64_t begin = 0; begin < s.k; begin += s.group) {
              int64_t sum = 0;
              for (int64_t k = begin; k < begin + s.group; k++)
                sum += static_cast<int64_t>(x[r * s.k + k]) *
                       (weight.w.codes[n * s.k + k] - weight.w.zeros[begin / s.group * s.n + n]);
              total += static_cast<float>(sum);
            }
            want.push_back(total);
          }
        nmtest::check_same_bits(engine.tier_name(), y.data(), want.data(), m * s.n);
      }
    });
  }
}

NM_TEST(sums_of_the_largest_codes_and_activations_do_not_overflow) {
  for (const int32_t bits : {4, 8}) {
    const Shape s = {bits, 0, 20, 512, 512, false, false, true};
    const int32_t largest = (1 << bits) - 1;
    Weight weight(s, 1);
    std::vector<uint8_t> codes(at(s.n * s.k), static_cast<uint8_t>(largest)), zeros(at(s.n), 0);
    std::vector<float> scales(at(s.n), 1.0f);
    weight.w.codes = codes.data();
    weight.w.zeros = zeros.data();
    weight.w.scales = scales.data();
    on_every_linear_tier([&](const TestEngine& engine) {
      const auto image = pack(engine, weight.w);
      for (const float sign : {-1.0f, 1.0f})
        for (const int64_t m : {1, 3, 9}) {
          Guarded<float> x(m * s.k), y(m * s.n);
          std::fill(x.begin(), x.end(), sign);
          const nm_linear_args a = linear_args(*image, m, x.data(), s.k, y.data(), s.n);
          NM_OK_CALL(nm_linear(engine, &a));
          const float want = static_cast<float>(512 * largest);
          for (const float one : y) NM_CHECK(std::fabs(one - sign * want) <= want * 0x1p-22f);
        }
    });
  }
}

NM_TEST(activations_of_every_size_keep_their_precision) {
  const Shape s = {4, 0, 20, 256, 64, false, false, true};
  const Weight weight(s, 8);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    Guarded<float> x(s.k), y(s.n), scaled(s.n);
    fill(x, 9);
    nm_linear_args a = linear_args(*image, 1, x.data(), s.k, y.data(), s.n);
    NM_OK_CALL(nm_linear(engine, &a));
    for (const int power : {-90, -20, 20, 110}) {
      for (float& one : x) one = std::ldexp(one, power);
      a.y = scaled.data();
      NM_OK_CALL(nm_linear(engine, &a));
      for (float& one : x) one = std::ldexp(one, -power);
      for (float& one : scaled) one = std::ldexp(one, -power);
      nmtest::check_same_bits(nmtest::text("%s 2^%d", engine.tier_name(), power).c_str(), scaled.data(), y.data(), s.n);
    }
    for (float& one : x) one = 1e-40f;  // below what is scaled: as good as 0, and no NaN
    NM_OK_CALL(nm_linear(engine, &a));
    for (const float one : scaled) NM_CHECK(std::fabs(one) < 1e-30f);
    std::fill(x.begin(), x.end(), 0.0f);
    NM_OK_CALL(nm_linear(engine, &a));
    for (const float one : scaled) NM_CHECK(one == 0);
  });
}

NM_TEST(the_residual_may_be_y) {
  const Shape s = {4, 0, 45, 256, 64, false, false, true};
  const Weight weight(s, 3);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    for (const int64_t m : {1, 4, 21}) {
      Guarded<float> x(m * s.k), residual(m * s.n), y(m * s.n), in_place(m * s.n);
      fill(x, 1);
      fill(residual, 2);
      std::copy(residual.begin(), residual.end(), in_place.begin());
      nm_linear_args a = linear_args(*image, m, x.data(), s.k, y.data(), s.n);
      a.residual = residual.data();
      a.residual_stride = s.n;
      NM_OK_CALL(nm_linear(engine, &a));
      a.residual = a.y = in_place.data();
      NM_OK_CALL(nm_linear(engine, &a));
      nmtest::check_same_bits("in place", in_place.data(), y.data(), m * s.n);
    }
  });
}

NM_TEST(one_image_serves_every_tier) {
  const Shape s = {4, 0, 45, 250, 64, false, true, false};
  const Weight weight(s, 3);
  std::vector<uint8_t> first;
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    if (first.empty()) first.assign(image->begin(), image->end());
    NM_CHECK(std::memcmp(first.data(), image->data(), first.size()) == 0);
  });
}

NM_TEST(no_rows_is_no_work) {
  const Shape s = {8, 0, 16, 32, 32, true, false, false};
  const Weight weight(s, 1);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    nm_linear_args a = linear_args(*image, 0, nullptr, s.k, nullptr, s.n);
    NM_OK_CALL(nm_linear(engine, &a));
  });
}

NM_TEST(query_tells_what_was_packed) {
  on_every_linear_tier([&](const TestEngine& engine) {
    const Weight weight({3, 0, 20, 100, 64, false, true, false}, 1);
    const auto image = pack(engine, weight.w);
    nm_linear_info info = args<nm_linear_info>();
    NM_OK_CALL(nm_linear_query(engine, image->data(), image->size(), &info));
    NM_CHECK(info.bits == 4 && info.n == 20 && info.k == 100 && info.groups == 2 && info.act_order == 1);
    NM_CHECK(info.bytes <= image->size());
    const std::string near = std::string("linear_i4_i16_") + engine.tier_name();
    NM_CHECK(info.kernel == (engine.tier() == NM_TIER_REFERENCE ? "linear_i4_ref" : near));
    const Weight half({0, NM_BF16, 20, 100, 0, false, false, false}, 1);
    const auto float_image = pack(engine, half.w);
    NM_OK_CALL(nm_linear_query(engine, float_image->data(), float_image->size(), &info));
    NM_CHECK(info.bits == 0 && info.type == NM_BF16 && info.groups == 1 && info.act_order == 0);
  });
}

NM_TEST(a_sorted_g_idx_is_no_act_order) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  Weight weight({4, 0, 20, 128, 32, false, true, false}, 1);
  std::vector<int32_t> sorted(128);
  for (int32_t k = 0; k < 128; k++) sorted[at(k)] = k / 32;
  weight.w.g_idx = sorted.data();
  const auto image = pack(engine, weight.w);
  nm_linear_info info = args<nm_linear_info>();
  NM_OK_CALL(nm_linear_query(engine, image->data(), image->size(), &info));
  NM_CHECK(info.act_order == 0);
}

NM_TEST(cancel_ends_the_call) {
  const Shape s = {4, 0, 64, 64, 64, true, false, false};
  const Weight weight(s, 1);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    Guarded<float> x(9 * s.k), y(9 * s.n);
    const int32_t cancel = 1;
    for (const int64_t m : {1, 9}) {
      nm_linear_args a = linear_args(*image, m, x.data(), s.k, y.data(), s.n);
      a.cancel = &cancel;
      NM_REFUSED(nm_linear(engine, &a), NM_ERR_CANCELLED, "cancelled");
    }
  });
}

NM_TEST(bad_weights_are_refused_by_name) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  const Weight good({4, 0, 20, 128, 32, false, true, false}, 1);
  int64_t bytes = 0;
  const auto refused = [&](const char* fragment, auto&& change) {
    nm_weight w = good.w;
    change(w);
    NM_REFUSED(nm_linear_pack_size(engine, &w, &bytes), NM_ERR_ARGUMENT, fragment);
  };
  refused("n: got 0", [](nm_weight& w) { w.n = 0; });
  refused("k: got -5", [](nm_weight& w) { w.k = -5; });
  refused("overflow", [](nm_weight& w) { w.n = int64_t{1} << 40; });
  refused("bits: got 9", [](nm_weight& w) { w.bits = 9; });
  refused("bits: got 1", [](nm_weight& w) { w.bits = 1; });
  refused("activations: got 2", [](nm_weight& w) { w.activations = NM_ACTIVATIONS_NEAR_EXACT; });
  refused("type: got 3", [](nm_weight& w) { w.bits = 0, w.type = NM_F64; });
  refused("group_size: got 0", [](nm_weight& w) { w.group_size = 0; });
  refused("group_size: got 129", [](nm_weight& w) { w.group_size = 129; });
  std::vector<int32_t> g_idx(128, 0);
  g_idx[77] = 4;
  refused("g_idx[77]: got 4, expected 0..3", [&](nm_weight& w) { w.g_idx = g_idx.data(); });
  refused("g_idx: misaligned", [&](nm_weight& w) {
    w.g_idx = reinterpret_cast<const int32_t*>(reinterpret_cast<const char*>(g_idx.data()) + 1);
  });
  nm_weight w = good.w;
  NM_REFUSED(nm_linear_pack_size(engine, &w, nullptr), NM_ERR_ARGUMENT, "bytes: got NULL");
  NM_REFUSED(nm_linear_pack_size(engine, nullptr, &bytes), NM_ERR_ARGUMENT, "got NULL");
  w.struct_size -= 8;
  NM_REFUSED(nm_linear_pack_size(engine, &w, &bytes), NM_ERR_STRUCT_SIZE, "struct_size");
}

NM_TEST(packing_refuses_bad_arrays_and_codes_out_of_range) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  const Weight good({3, 0, 20, 128, 32, false, false, false}, 1);
  int64_t bytes = 0;
  NM_OK_CALL(nm_linear_pack_size(engine, &good.w, &bytes));
  Bytes image(bytes);
  const auto refused = [&](const char* fragment, auto&& change) {
    nm_weight w = good.w;
    change(w);
    NM_REFUSED(nm_linear_pack(engine, &w, image.data(), bytes), NM_ERR_ARGUMENT, fragment);
    nm_linear_info info = args<nm_linear_info>();
    NM_REFUSED(nm_linear_query(engine, image.data(), bytes, &info), NM_ERR_ARGUMENT, "not an image");
  };
  refused("codes: got NULL", [](nm_weight& w) { w.codes = nullptr; });
  refused("scales: got NULL", [](nm_weight& w) { w.scales = nullptr; });
  refused("data: got NULL", [](nm_weight& w) { w.bits = 0; });
  std::vector<uint8_t> codes(at(20 * 128), 7), zeros(at(20 * 4), 7);
  codes[at(13 * 128 + 100)] = 8;
  refused("codes[13,100]: got 8, expected 0..7", [&](nm_weight& w) { w.codes = codes.data(); });
  zeros[at(2 * 20 + 19)] = 255;
  refused("zeros[2,19]: got 255, expected 0..7", [&](nm_weight& w) { w.zeros = zeros.data(); });
  NM_REFUSED(nm_linear_pack(engine, &good.w, image.data(), bytes - 64), NM_ERR_ARGUMENT, "bytes: got");
  NM_REFUSED(nm_linear_pack(engine, &good.w, nullptr, bytes), NM_ERR_ARGUMENT, "image: got NULL");
  NM_REFUSED(nm_linear_pack(engine, &good.w, image.data() + 4, bytes), NM_ERR_ARGUMENT, "image: misaligned");
}

NM_TEST(bad_arguments_are_refused_by_name) {
  const Shape s = {4, 0, 20, 128, 32, false, true, false};
  const Weight weight(s, 1);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    Guarded<float> x(2 * s.k), y(2 * s.n), residual(2 * s.n);
    const nm_linear_args good = linear_args(*image, 2, x.data(), s.k, y.data(), s.n);
    const auto refused = [&](int32_t status, const char* fragment, auto&& change) {
      nm_linear_args a = good;
      change(a);
      NM_REFUSED(nm_linear(engine, &a), status, fragment);
    };
    const int32_t bad = NM_ERR_ARGUMENT;
    refused(NM_ERR_STRUCT_SIZE, "struct_size", [](nm_linear_args& a) { a.struct_size = 3; });
    refused(bad, "m: got -1", [](nm_linear_args& a) { a.m = -1; });
    refused(bad, "overflow", [](nm_linear_args& a) { a.m = int64_t{1} << 45; });
    refused(bad, "x: got NULL", [](nm_linear_args& a) { a.x = nullptr; });
    refused(bad, "y: got NULL", [](nm_linear_args& a) { a.y = nullptr; });
    refused(bad, "x_stride: got 127", [](nm_linear_args& a) { a.x_stride = 127; });
    refused(bad, "y_stride: got -20", [](nm_linear_args& a) { a.y_stride = -20; });
    refused(bad, "x: misaligned", [](nm_linear_args& a) { a.x = reinterpret_cast<const float*>(uintptr_t{2}); });
    refused(bad, "bias: misaligned", [](nm_linear_args& a) { a.bias = reinterpret_cast<const float*>(uintptr_t{2}); });
    refused(bad, "x: overlaps y", [](nm_linear_args& a) { a.y = const_cast<float*>(a.x) + 200; });
    refused(bad, "bias: overlaps y", [](nm_linear_args& a) { a.bias = a.y + 20; });
    refused(bad, "residual_stride: got 3",
            [&](nm_linear_args& a) { a.residual = residual.data(), a.residual_stride = 3; });
    refused(bad, "residual: overlaps y", [](nm_linear_args& a) {
      a.residual = a.y + 1;
      a.residual_stride = 20;
      a.m = 1;
    });
    refused(bad, "image: got NULL", [](nm_linear_args& a) { a.image = nullptr; });
    refused(bad, "image_bytes: got 10", [](nm_linear_args& a) { a.image_bytes = 10; });
    NM_REFUSED(nm_linear(nullptr, &good), NM_ERR_HANDLE, "NULL");
    NM_REFUSED(nm_linear(engine, nullptr), NM_ERR_ARGUMENT, "NULL");
  });
}

NM_TEST(a_destroyed_engine_is_refused) {
  nm_engine_options options = args<nm_engine_options>();
  options.tier = NM_TIER_REFERENCE;
  options.threads = 1;
  nm_engine* engine = nullptr;
  NM_OK_CALL(nm_engine_create(&options, &engine));
  const Weight weight({4, 0, 20, 128, 32, false, true, false}, 1);
  const auto image = pack(engine, weight.w);
  NM_OK_CALL(nm_engine_destroy(engine));
  Guarded<float> x(128), y(20);
  const nm_linear_args a = linear_args(*image, 1, x.data(), 128, y.data(), 20);
  NM_REFUSED(nm_linear(engine, &a), NM_ERR_HANDLE, "destroyed");
}

NM_TEST(a_truncated_image_is_an_error) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  const Weight weight({4, 0, 20, 128, 32, false, true, false}, 1);
  const auto image = pack(engine, weight.w);
  nm_linear_info info = args<nm_linear_info>();
  NM_OK_CALL(nm_linear_query(engine, image->data(), image->size(), &info));
  for (int64_t bytes = 0; bytes < info.bytes; bytes += 8) {
    Bytes cut(std::max<int64_t>(bytes, 1));
    if (cut.size() % 8 != 0) continue;
    std::copy_n(image->begin(), bytes, cut.begin());
    NM_REFUSED(nm_linear_query(engine, cut.data(), bytes, &info), NM_ERR_ARGUMENT, "image");
  }
}

NM_TEST(no_flipped_bit_of_an_image_leads_outside_its_arrays) {
  // Weights, scales and zeros may hold anything; header, blocks and column map decide where kernels read.
  const Shape s = {4, 0, 20, 130, 32, false, true, false};
  const Weight weight(s, 1);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    const int64_t tables = reinterpret_cast<const nm::ImageHeader*>(image->data())->scales_at;
    Guarded<float> x(5 * s.k), y(5 * s.n);
    int64_t refused = 0;
    for (int64_t bit = 0; bit < tables * 8; bit++) {
      (*image)[bit / 8] = static_cast<uint8_t>((*image)[bit / 8] ^ (1 << bit % 8));
      for (const int64_t m : {1, 5}) {
        const nm_linear_args a = linear_args(*image, m, x.data(), s.k, y.data(), s.n);
        const int32_t status = nm_linear(engine, &a);
        NM_CHECK(status == NM_OK || status == NM_ERR_ARGUMENT);
        refused += status != NM_OK;
      }
      (*image)[bit / 8] = static_cast<uint8_t>((*image)[bit / 8] ^ (1 << bit % 8));
    }
    NM_CHECK(refused > 2 * 8 * static_cast<int64_t>(sizeof(nm::ImageHeader)) * 3 / 4);
    const nm_linear_args a = linear_args(*image, 5, x.data(), s.k, y.data(), s.n);
    NM_OK_CALL(nm_linear(engine, &a));
  });
}

NM_TEST(infinities_and_nan_of_x_stay_in_their_rows) {
  const Shape s = {4, 0, 20, 130, 32, false, true, false};
  const Weight weight(s, 1);
  on_every_linear_tier([&](const TestEngine& engine) {
    const auto image = pack(engine, weight.w);
    Guarded<float> x(9 * s.k), y(9 * s.n);
    fill(x, 6);
    x[3 * s.k + 7] = INFINITY;
    x[5 * s.k + 129] = NAN;
    const nm_linear_args a = linear_args(*image, 9, x.data(), s.k, y.data(), s.n);
    NM_OK_CALL(nm_linear(engine, &a));
    for (int64_t i = 0; i < 9; i++)
      for (int64_t n = 0; n < s.n; n++) NM_CHECK(std::isfinite(y[i * s.n + n]) == (i != 3 && i != 5));
  });
}
