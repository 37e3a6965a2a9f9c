// Round to nearest and its inverse: against the formulas of nanomodel.h in plain C++, the same bits on every tier, and
// what happens at the ends of the range.
#include <algorithm>
#include <bit>
#include <cstring>

#include "convert/numbers.h"
#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

/** Arrays of canonical codes between guard pages. */
struct Codes {
  Codes(int32_t bits, int64_t n, int64_t k, int64_t group, Edge edge = Edge::kEnd)
      : codes(n * k, edge), scales(((k - 1) / group + 1) * n, edge), zeros(((k - 1) / group + 1) * n, edge) {
    c = args<nm_codes>();
    c.bits = bits;
    c.n = n;
    c.k = k;
    c.group_size = group;
    c.codes = codes.data();
    c.scales = scales.data();
    c.zeros = zeros.data();
  }
  Guarded<uint8_t> codes;
  Guarded<float> scales;
  Guarded<uint8_t> zeros;
  nm_codes c;
};

float rounded(float x, int32_t type) {
  using namespace nm::numbers;
  if (type == NM_F16) return std::bit_cast<float>(f32_from_f16(f16_from_f64(double{x})));
  if (type == NM_BF16) return std::bit_cast<float>(f32_from_bf16(bf16_from_f64(double{x})));
  return x;
}

nm_rtn_args rtn_args(const float* w, int64_t stride, int32_t sym, int32_t scale_type, const Codes& out) {
  nm_rtn_args a = args<nm_rtn_args>();
  a.sym = sym;
  a.scale_type = scale_type;
  a.w = w;
  a.w_stride = stride;
  a.out = &out.c;
  return a;
}

nm_dequantize_args dequantize_args(const Codes& in, float* w, int64_t stride) {
  nm_dequantize_args a = args<nm_dequantize_args>();
  a.in = &in.c;
  a.w = w;
  a.w_stride = stride;
  return a;
}

/** The header's words, one weight after the other. */
void check_group(const float* w, int64_t count, int32_t sym, int32_t bits, int32_t type, float scale, int zero,
                 const uint8_t* codes, const char* what) {
  const float most = static_cast<float>((1 << bits) - 1);
  float low = 0, high = 0;
  for (int64_t i = 0; i < count; i++) low = std::min(low, w[i]), high = std::max(high, w[i]);
  if (low == 0 && high == 0) low = -1, high = 1;
  const float steps = sym == 2 ? most - 1 : most, least = sym == 2 ? 1 : 0;
  const float exact = sym != 0 ? 2 * std::max(-low, high) / steps : (high - low) / steps;
  const int expected_zero = sym ? 1 << (bits - 1) : static_cast<int>(std::nearbyint(-low / exact));
  NM_CHECK_MSG(scale == rounded(exact, type), "%s: scale %g, expected %g", what, static_cast<double>(scale),
               static_cast<double>(rounded(exact, type)));
  NM_CHECK_MSG(zero == expected_zero, "%s: zero %d, expected %d", what, zero, expected_zero);
  for (int64_t i = 0; i < count; i++) {
    const float code = std::clamp(std::nearbyint(w[i] / scale) + static_cast<float>(zero), least, most);
    NM_CHECK_MSG(codes[i] == static_cast<int>(code), "%s: w %g gave %d, expected %g", what, static_cast<double>(w[i]),
                 codes[i], static_cast<double>(code));
  }
}

struct Case {
  int32_t bits;
  int64_t n, k, group;
  int32_t sym;
  int32_t type;
};

const Case kCases[] = {{4, 5, 128, 32, 1, NM_F16},   {4, 3, 172, 128, 0, NM_F16}, {8, 4, 100, 100, 0, NM_F32},
                       {8, 2, 33, 16, 1, NM_BF16},   {3, 7, 67, 33, 0, NM_BF16},  {2, 1, 1, 1, 0, NM_F32},
                       {5, 600, 300, 64, 1, NM_F16}, {6, 3, 31, 7, 0, NM_F16},    {4, 5, 203, 203, 2, NM_F32},
                       {7, 2, 15, 15, 1, NM_F32},    {2, 3, 40, 16, 2, NM_F16}};

}  // namespace

NM_TEST(rtn_follows_the_formulas_and_stays_inside_its_arrays) {
  for (const Case& t : kCases)
    for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
      const int64_t stride = t.n == 1 ? t.k : t.k + 2;
      Guarded<float> w((t.n - 1) * stride + t.k, edge);
      Random random(static_cast<uint64_t>(t.k));
      for (float& x : w) x = random.normal() * 0.05f;
      for (int64_t k = 0; k < std::min<int64_t>(t.k, t.group); k++) w[k] = 0;  // an all-zero group
      if (t.n > 2)
        for (int64_t k = 0; k < t.k; k++) w[stride + k] = std::fabs(w[stride + k]);  // none below zero
      nmtest::on_every_tier([&](const TestEngine& engine) {
        const Codes out(t.bits, t.n, t.k, t.group, edge);
        const nm_rtn_args a = rtn_args(w.data(), stride, t.sym, t.type, out);
        NM_OK_CALL(nm_rtn(engine, &a));
        const std::string what =
            nmtest::text("bits %d K %lld %s", t.bits, static_cast<long long>(t.k), engine.tier_name());
        for (int64_t n = 0; n < t.n; n++)
          for (int64_t g = 0; g * t.group < t.k; g++)
            check_group(w.data() + n * stride + g * t.group, std::min(t.group, t.k - g * t.group), t.sym, t.bits,
                        t.type, out.scales[g * t.n + n], out.zeros[g * t.n + n],
                        out.codes.data() + n * t.k + g * t.group, what.c_str());
      });
    }
}

NM_TEST(halves_round_to_even) {
  // Range -7.5..7.5: scale 1, zero 8.
  const float w[] = {-7.5f, 7.5f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.0f};
  const int expected[] = {0, 15, 8, 10, 10, 8, 6, 6, 8};
  nmtest::on_every_tier([&](const TestEngine& engine) {
    const Codes out(4, 1, 9, 9);
    const nm_rtn_args a = rtn_args(w, 9, true, NM_F16, out);
    NM_OK_CALL(nm_rtn(engine, &a));
    NM_CHECK(out.scales[0] == 1.0f && out.zeros[0] == 8);
    for (int i = 0; i < 9; i++) NM_CHECK_MSG(out.codes[i] == expected[i], "w[%d] gave %d", i, out.codes[i]);
  });
}

NM_TEST(a_scale_that_underflows_gives_codes_at_the_zero_point) {
  for (const bool sym : {true, false})
    nmtest::on_every_tier([&](const TestEngine& engine) {
      Guarded<float> w(40), back(40);
      for (int i = 0; i < 40; i++) w[i] = 1e-9f * static_cast<float>(i - 20);
      const Codes out(4, 1, 40, 40);
      nm_rtn_args a = rtn_args(w.data(), 40, sym, NM_F16, out);
      NM_OK_CALL(nm_rtn(engine, &a));
      NM_CHECK(out.scales[0] == 0);
      for (const uint8_t code : out.codes) NM_CHECK(code == out.zeros[0]);
      nm_dequantize_args d = dequantize_args(out, back.data(), 40);
      NM_OK_CALL(nm_dequantize(engine, &d));
      for (const float x : back) NM_CHECK(x == 0);
      w[0] = -1e-45f;  // even the float32 scale is 0
      for (int i = 1; i < 40; i++) w[i] = 0;
      a.scale_type = NM_F32;
      NM_OK_CALL(nm_rtn(engine, &a));
      NM_CHECK(out.scales[0] == 0);
    });
}

NM_TEST(weights_beyond_the_range_are_refused_with_their_place) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    const float bad[] = {INFINITY, -INFINITY, NAN};
    for (const float x : bad) {
      Guarded<float> w(3 * 70);
      w[2 * 70 + 66] = x;
      const Codes out(4, 3, 70, 32);
      const nm_rtn_args a = rtn_args(w.data(), 70, false, NM_F16, out);
      NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "w[2,66]: got");
    }
    Guarded<float> w(3 * 70);
    w[70 + 40] = 2e6f;  // scale 133333 > 65504
    const Codes out(4, 3, 70, 32);
    nm_rtn_args a = rtn_args(w.data(), 70, false, NM_F16, out);
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "w[1,32]: the scale of its group");
    a.scale_type = NM_BF16;
    NM_OK_CALL(nm_rtn(engine, &a));
    w[70 + 40] = 3e38f;
    w[70 + 41] = -3e38f;
    a.scale_type = NM_F32;
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "w[1,32]: the scale of its group");
  });
}

NM_TEST(dequantize_is_one_multiplication_bit_for_bit) {
  for (const Case& t : kCases)
    for (const bool act_order : {false, true}) {
      const Codes in(t.bits, t.n, t.k, t.group);
      Random random(9);
      const int64_t groups = (t.k - 1) / t.group + 1, stride = t.n == 1 ? t.k : t.k + 1;
      Guarded<int32_t> g_idx(t.k);
      for (uint8_t& code : in.codes) code = static_cast<uint8_t>(random.below(1 << t.bits));
      for (uint8_t& zero : in.zeros) zero = static_cast<uint8_t>(random.below(1 << t.bits));
      for (float& scale : in.scales) scale = random.uniform(-1, 1);
      for (int32_t& g : g_idx) g = static_cast<int32_t>(random.below(groups));
      nm_codes c = in.c;
      c.g_idx = act_order ? g_idx.data() : nullptr;
      nmtest::on_every_tier([&](const TestEngine& engine) {
        Guarded<float> w((t.n - 1) * stride + t.k);
        nm_dequantize_args a = dequantize_args(in, w.data(), stride);
        a.in = &c;
        NM_OK_CALL(nm_dequantize(engine, &a));
        for (int64_t n = 0; n < t.n; n++)
          for (int64_t k = 0; k < t.k; k++) {
            const int64_t g = act_order ? g_idx[k] : k / t.group;
            const float want =
                in.scales[g * t.n + n] * static_cast<float>(in.codes[n * t.k + k] - in.zeros[g * t.n + n]);
            nmtest::check_same_bits(engine.tier_name(), w.data() + n * stride + k, &want, 1);
          }
      });
    }
}

NM_TEST(quantizing_what_was_dequantized_changes_nothing) {
  // Exact arithmetic: float32 scales that are powers of two.
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Guarded<float> w(64), back(64);
    for (int i = 0; i < 64; i++) w[i] = 0.25f * static_cast<float>(i % 16 - 7);
    const Codes out(4, 1, 64, 16);
    const nm_rtn_args a = rtn_args(w.data(), 64, false, NM_F32, out);
    NM_OK_CALL(nm_rtn(engine, &a));
    const nm_dequantize_args d = dequantize_args(out, back.data(), 64);
    NM_OK_CALL(nm_dequantize(engine, &d));
    nmtest::check_same_bits(engine.tier_name(), back.data(), w.data(), 64);
  });
}

NM_TEST(rtn_and_dequantize_refuse_bad_arguments_by_name) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Guarded<float> w(2 * 64);
    const Codes codes(4, 2, 64, 32);
    const std::vector<int32_t> g_idx(64, 7);
    struct Change {
      int32_t status;
      const char* fragment;
      std::function<void(nm_codes&)> codes;
    };
    const Change both[] = {{NM_ERR_STRUCT_SIZE, "struct_size", [](nm_codes& c) { c.struct_size--; }},
                           {NM_ERR_ARGUMENT, "bits: got 1", [](nm_codes& c) { c.bits = 1; }},
                           {NM_ERR_ARGUMENT, "bits: got 9", [](nm_codes& c) { c.bits = 9; }},
                           {NM_ERR_ARGUMENT, "n: got 0", [](nm_codes& c) { c.n = 0; }},
                           {NM_ERR_ARGUMENT, "overflow", [](nm_codes& c) { c.n = int64_t{1} << 44; }},
                           {NM_ERR_ARGUMENT, "k: got -1", [](nm_codes& c) { c.k = -1; }},
                           {NM_ERR_ARGUMENT, "group_size: got 65", [](nm_codes& c) { c.group_size = 65; }},
                           {NM_ERR_ARGUMENT, "codes: got NULL", [](nm_codes& c) { c.codes = nullptr; }},
                           {NM_ERR_ARGUMENT, "scales: got NULL", [](nm_codes& c) { c.scales = nullptr; }},
                           {NM_ERR_ARGUMENT, "zeros: got NULL", [](nm_codes& c) { c.zeros = nullptr; }},
                           {NM_ERR_ARGUMENT, "codes: overlaps w",
                            [&](nm_codes& c) { c.codes = reinterpret_cast<uint8_t*>(w.data() + 10); }},
                           {NM_ERR_ARGUMENT, "g_idx", [&](nm_codes& c) { c.g_idx = g_idx.data(); }}};
    for (const Change& change : both) {
      nm_codes c = codes.c;
      change.codes(c);
      nm_rtn_args a = rtn_args(w.data(), 64, true, NM_F16, codes);
      a.out = &c;
      NM_REFUSED(nm_rtn(engine, &a), change.status, change.fragment);
      nm_dequantize_args d = dequantize_args(codes, w.data(), 64);
      d.in = &c;
      NM_REFUSED(nm_dequantize(engine, &d), change.status, change.fragment);
    }
    nm_rtn_args a = rtn_args(w.data(), 63, true, NM_F16, codes);
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "w_stride: got 63");
    a = rtn_args(nullptr, 64, true, NM_F16, codes);
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "w: got NULL");
    a = rtn_args(w.data(), 64, true, NM_F64, codes);
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "scale_type: got 3");
    a = rtn_args(w.data(), 64, true, NM_F16, codes);
    a.sym = 3;
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "sym: got 3");
    a.out = nullptr;
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_ARGUMENT, "out: got NULL");
    const int32_t cancel = 1;
    a = rtn_args(w.data(), 64, true, NM_F16, codes);
    a.cancel = &cancel;
    NM_REFUSED(nm_rtn(engine, &a), NM_ERR_CANCELLED, "cancelled");
  });
}
