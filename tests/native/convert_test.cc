// Conversions, exhaustively over all 8- and 16-bit patterns, and embedding rows. The expected values come from the
// formats' definitions by ldexp and a search for the nearest number, not from the library's bit manipulations.
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

const double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::numeric_limits<double>::quiet_NaN();

/** A binary format of `exponent` and `mantissa` bits with the usual bias; `fn`: E4M3's, which has no infinities. */
double decode(uint32_t bits, int exponent, int mantissa, bool fn = false) {
  const int e = static_cast<int>(bits >> mantissa & ((1u << exponent) - 1)), most = (1 << exponent) - 1;
  const uint32_t m = bits & ((1u << mantissa) - 1);
  const double sign = (bits >> (exponent + mantissa) & 1u) != 0 ? -1 : 1;
  const int bias = (1 << (exponent - 1)) - 1;
  if (fn && e == most && m == (1u << mantissa) - 1) return kNaN;
  if (!fn && e == most) return m == 0 ? sign * kInf : kNaN;
  if (e == 0) return sign * std::ldexp(m, 1 - bias - mantissa);
  return sign * std::ldexp(m + std::ldexp(1.0, mantissa), e - bias - mantissa);
}

double decode_f16(uint32_t bits) { return decode(bits, 5, 10); }
double decode_bf16(uint32_t bits) { return decode(bits, 8, 7); }

/** The nearest pattern to x, halves to even, by bisection over the non-negative patterns (their values rise). */
uint32_t nearest(double x, int exponent, int mantissa) {
  const uint32_t sign = std::signbit(x) ? 1u << (exponent + mantissa) : 0, infinity = ((1u << exponent) - 1)
                                                                                      << mantissa;
  const double size = std::fabs(x);
  uint32_t low = 0, high = infinity;  // value(low) <= size < value(high)
  if (size == kInf) return sign | infinity;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (decode(middle, exponent, mantissa) <= size ? low : high) = middle;
  }
  // Infinity stands for the number that would come next.
  const double below = decode(low, exponent, mantissa);
  const double step =
      low + 1 == infinity ? below - decode(low - 1, exponent, mantissa) : decode(low + 1, exponent, mantissa) - below;
  const double rest = (size - below) / step;
  return sign | (rest > 0.5 || (rest == 0.5 && low % 2 == 1) ? low + 1 : low);
}

template <class To, class From>
std::vector<To> converted(const TestEngine& engine, int32_t from, int32_t to, const std::vector<From>& x,
                          Edge edge = Edge::kEnd) {
  const int64_t n = static_cast<int64_t>(x.size());
  Guarded<From> in(n, edge);
  Guarded<To> out(n, edge);
  if (!x.empty()) std::memcpy(in.data(), x.data(), x.size() * sizeof(From));
  nm_convert_args a = args<nm_convert_args>();
  a.from = from;
  a.to = to;
  a.count = n;
  a.x = in.data();
  a.y = out.data();
  NM_OK_CALL(nm_convert(engine, &a));
  return std::vector<To>(out.begin(), out.end());
}

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

bool is_nan16(uint32_t bits, int mantissa) {
  const uint32_t infinity = 0x7fffu >> mantissa << mantissa;
  return (bits & 0x7fffu) > infinity;
}

void check_wide(const char* what, uint32_t bits, double want, float got) {
  if (std::isnan(want))
    NM_CHECK_MSG(std::isnan(got), "%s %04x: got %g, expected NaN", what, bits, static_cast<double>(got));
  else
    NM_CHECK_MSG(got == want && std::signbit(got) == std::signbit(want), "%s %04x: got %.9g, expected %.9g", what, bits,
                 static_cast<double>(got), want);
}

/** got: x narrowed to 16 bits; want: nearest() of it, of no meaning for a NaN. */
void check_narrow(const char* what, double x, uint32_t got, uint32_t want, int mantissa) {
  if (std::isnan(x))
    NM_CHECK_MSG(is_nan16(got, mantissa) && (got >> (mantissa - 1) & 1u) != 0, "%s: NaN gave %04x, not a quiet NaN",
                 what, got);
  else
    NM_CHECK_MSG(got == want, "%s: %.17g gave %04x, expected %04x", what, x, got, want);
}

/** Numbers, and what they are nearest to in both 16-bit formats; worked out once for all engines. */
template <class T>
struct Narrowed {
  explicit Narrowed(const std::vector<T>& numbers) : x(numbers) {
    for (const T one : x) {
      f16.push_back(std::isnan(one) ? 0 : nearest(double{one}, 5, 10));
      bf16.push_back(std::isnan(one) ? 0 : nearest(double{one}, 8, 7));
    }
  }
  void check_f16(const char* what, const std::vector<uint16_t>& got) const {
    for (size_t i = 0; i < x.size(); i++) check_narrow(what, double{x[i]}, got[i], f16[i], 10);
  }
  void check_bf16(const char* what, const std::vector<uint16_t>& got) const {
    for (size_t i = 0; i < x.size(); i++) check_narrow(what, double{x[i]}, got[i], bf16[i], 7);
  }
  std::vector<T> x;
  std::vector<uint32_t> f16, bf16;
};

/** The numbers of `count` patterns. */
template <class Decode>
Narrowed<double> decoded(uint32_t count, Decode decode_one) {
  std::vector<double> x;
  for (uint32_t i = 0; i < count; i++) x.push_back(decode_one(i));
  return Narrowed<double>(x);
}

template <class T>
std::vector<T> all_patterns(uint32_t count) {
  std::vector<T> x(count);
  for (uint32_t i = 0; i < count; i++) x[i] = static_cast<T>(i);
  return x;
}

/** Random floats of all exponents, and those around every rounding boundary of both 16-bit formats. */
std::vector<float> floats() {
  std::vector<float> x;
  Random random(3);
  for (int i = 0; i < 200000; i++) x.push_back(float_of(static_cast<uint32_t>(random.bits())));
  for (uint32_t h = 0; h < 0x7c00; h += 7) {  // halfway to the next half, one below, one above
    const uint32_t middle =
        bits_of(static_cast<float>((decode_f16(h) + (h == 0x7bff ? 65536 : decode_f16(h + 1))) / 2));
    for (const uint32_t bits : {middle - 1, middle, middle + 1, middle | 0x80000000u}) x.push_back(float_of(bits));
  }
  for (uint32_t b = 0; b < 0x7f80; b += 3)
    for (const uint32_t low : {0x7fffu, 0x8000u, 0x8001u, 0xffffu}) x.push_back(float_of(b << 16 | low));
  for (const uint32_t bits : {0u, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7f800001u, 0xffc12345u, 0x7fffffffu, 1u,
                              0x477fefffu, 0x477ff000u, 0x477fffffu, 0x7f7fffffu, 0x33000000u, 0x33000001u})
    x.push_back(float_of(bits));
  return x;
}

}  // namespace

NM_TEST(every_16_bit_and_8_bit_pattern_widens_exactly) {
  const std::vector<uint16_t> all16 = all_patterns<uint16_t>(65536);
  const std::vector<uint8_t> all8 = all_patterns<uint8_t>(256);
  on_every_tier([&](const TestEngine& engine) {
    const std::vector<float> f16 = converted<float>(engine, NM_F16, NM_F32, all16);
    const std::vector<float> bf16 = converted<float>(engine, NM_BF16, NM_F32, all16);
    for (uint32_t i = 0; i < 65536; i++) {
      check_wide("f16", i, decode_f16(i), f16[i]);
      check_wide("bf16", i, decode_bf16(i), bf16[i]);
    }
    const std::vector<float> e4m3 = converted<float>(engine, NM_F8_E4M3, NM_F32, all8);
    const std::vector<float> e5m2 = converted<float>(engine, NM_F8_E5M2, NM_F32, all8);
    for (uint32_t i = 0; i < 256; i++) {
      check_wide("e4m3", i, decode(i, 4, 3, true), e4m3[i]);
      check_wide("e5m2", i, decode(i, 5, 2), e5m2[i]);
    }
  });
}

NM_TEST(every_16_bit_and_8_bit_pattern_narrows_to_the_nearest) {
  const std::vector<uint16_t> all16 = all_patterns<uint16_t>(65536);
  const std::vector<uint8_t> all8 = all_patterns<uint8_t>(256);
  const Narrowed<double> halves = decoded(65536, decode_f16), brains = decoded(65536, decode_bf16);
  const Narrowed<double> e4m3 = decoded(256, [](uint32_t i) { return decode(i, 4, 3, true); });
  const Narrowed<double> e5m2 = decoded(256, [](uint32_t i) { return decode(i, 5, 2); });
  on_every_tier([&](const TestEngine& engine) {
    halves.check_bf16("f16 to bf16", converted<uint16_t>(engine, NM_F16, NM_BF16, all16));
    brains.check_f16("bf16 to f16", converted<uint16_t>(engine, NM_BF16, NM_F16, all16));
    for (const int32_t from : {NM_F8_E4M3, NM_F8_E5M2}) {
      const Narrowed<double>& numbers = from == NM_F8_E4M3 ? e4m3 : e5m2;
      numbers.check_f16("f8 to f16", converted<uint16_t>(engine, from, NM_F16, all8));
      numbers.check_bf16("f8 to bf16", converted<uint16_t>(engine, from, NM_BF16, all8));
    }
    NM_CHECK(converted<uint16_t>(engine, NM_F16, NM_F16, all16) == all16);
    NM_CHECK(converted<uint16_t>(engine, NM_BF16, NM_BF16, all16) == all16);
  });
}

NM_TEST(float32_narrows_to_the_nearest_with_halves_to_even) {
  const std::vector<float> x = floats();
  const Narrowed<float> numbers(x);
  on_every_tier([&](const TestEngine& engine) {
    numbers.check_f16("f32 to f16", converted<uint16_t>(engine, NM_F32, NM_F16, x));
    numbers.check_bf16("f32 to bf16", converted<uint16_t>(engine, NM_F32, NM_BF16, x));
    const std::vector<float> same = converted<float>(engine, NM_F32, NM_F32, x);
    NM_CHECK(std::memcmp(same.data(), x.data(), x.size() * sizeof(float)) == 0);
  });
}

NM_TEST(float64_is_rounded_once) {
  std::vector<double> x = {0.0,
                           -0.0,
                           kInf,
                           -kInf,
                           kNaN,
                           1e300,
                           -1e-300,
                           5e-324,
                           65519.99999999,
                           65520,
                           65504,
                           1 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40),  // by way of float32: a false half
                           1 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40),
                           std::ldexp(1.0, -25),
                           std::ldexp(1.0, -25) + std::ldexp(1.0, -60),
                           std::ldexp(1.0, -134)};
  Random random(9);
  for (int i = 0; i < 20000; i++)
    x.push_back(std::ldexp(static_cast<double>(random.bits()), static_cast<int>(random.below(200)) - 180) *
                (i % 2 == 0 ? 1 : -1));
  const Narrowed<double> numbers(x);
  on_every_tier([&](const TestEngine& engine) {
    numbers.check_f16("f64 to f16", converted<uint16_t>(engine, NM_F64, NM_F16, x));
    numbers.check_bf16("f64 to bf16", converted<uint16_t>(engine, NM_F64, NM_BF16, x));
    const std::vector<float> f32 = converted<float>(engine, NM_F64, NM_F32, x);
    for (size_t i = 0; i < x.size(); i++) {
      const float want = static_cast<float>(x[i]);  // the language's own conversion
      NM_CHECK(std::isnan(want) ? std::isnan(f32[i]) : bits_of(want) == bits_of(f32[i]));
    }
  });
}

NM_TEST(all_tiers_give_the_same_bits_nan_payloads_included) {
  const std::vector<float> x = floats();
  const std::vector<uint16_t> all16 = all_patterns<uint16_t>(65536);
  const TestEngine reference(NM_TIER_REFERENCE, 1);
  const std::vector<uint16_t> f16 = converted<uint16_t>(reference, NM_F32, NM_F16, x);
  const std::vector<uint16_t> bf16 = converted<uint16_t>(reference, NM_F32, NM_BF16, x);
  const std::vector<uint16_t> across = converted<uint16_t>(reference, NM_BF16, NM_F16, all16);
  const std::vector<float> wide = converted<float>(reference, NM_F16, NM_F32, all16);
  const std::vector<float> moved = converted<float>(reference, NM_BF16, NM_F32, all16);
  on_every_tier([&](const TestEngine& engine) {
    NM_CHECK(converted<uint16_t>(engine, NM_F32, NM_F16, x) == f16);
    NM_CHECK(converted<uint16_t>(engine, NM_F32, NM_BF16, x) == bf16);
    NM_CHECK(converted<uint16_t>(engine, NM_BF16, NM_F16, all16) == across);
    nmtest::check_same_bits("f16", converted<float>(engine, NM_F16, NM_F32, all16).data(), wide.data(), 65536);
    nmtest::check_same_bits("bf16", converted<float>(engine, NM_BF16, NM_F32, all16).data(), moved.data(), 65536);
  });
}

NM_TEST(all_lengths_between_guard_pages) {
  std::vector<float> numbers;
  std::vector<uint16_t> halves;
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < 70; i++) {
    numbers.push_back(static_cast<float>(i) - 20);
    halves.push_back(static_cast<uint16_t>(nearest(numbers[i], 5, 10)));
    bytes.push_back(static_cast<uint8_t>(0x38 + 8 * (i % 3)));  // 1, 2, 4 in E4M3
  }
  on_every_tier([&](const TestEngine& engine) {
    for (int64_t n = 0; n < 70; n++)
      for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
        const std::vector<float> x(numbers.begin(), numbers.begin() + n);
        const std::vector<uint16_t> h(halves.begin(), halves.begin() + n);
        const std::vector<uint8_t> b(bytes.begin(), bytes.begin() + n);
        NM_CHECK(converted<uint16_t>(engine, NM_F32, NM_F16, x, edge) == h);
        NM_CHECK(converted<float>(engine, NM_F16, NM_F32, h, edge) == x);
        const std::vector<uint16_t> brain = converted<uint16_t>(engine, NM_F16, NM_BF16, h, edge);
        NM_CHECK(converted<float>(engine, NM_BF16, NM_F32, brain, edge) == x);
        const std::vector<float> small = converted<float>(engine, NM_F8_E4M3, NM_F32, b, edge);
        for (size_t i = 0; i < small.size(); i++) NM_CHECK(small[i] == static_cast<float>(1 << i % 3));
      }
  });
}

NM_TEST(embedding_copies_the_rows_asked_for) {
  for (const int64_t cols : {1, 7, 8, 31, 64, 577}) {
    for (const Edge edge : {Edge::kEnd, Edge::kStart}) {
      on_every_tier([&](const TestEngine& engine) {
        const int64_t rows = 9, stride = cols + 2, size = (rows - 1) * stride + cols;
        const int32_t wanted[] = {8, 0, 3, 3, 7, 8};
        Guarded<float> f32(size, edge);
        Guarded<uint16_t> f16(size, edge), bf16(size, edge);
        Guarded<int32_t> ids(6, edge);
        for (int64_t i = 0; i < 6; i++) ids[i] = wanted[i];
        for (int64_t i = 0; i < size; i++) {
          f16[i] = static_cast<uint16_t>(nearest(static_cast<double>(i), 5, 10));
          bf16[i] = static_cast<uint16_t>(nearest(static_cast<double>(i), 8, 7));
          f32[i] = static_cast<float>(i);
        }
        for (const int32_t type : {NM_F32, NM_F16, NM_BF16}) {
          Guarded<float> y(5 * (cols + 1) + cols, edge);
          for (float& v : y) v = 77;
          nm_embedding_args a = args<nm_embedding_args>();
          a.type = type;
          a.t = 6;
          a.rows = rows;
          a.cols = cols;
          a.table = type == NM_F32 ? static_cast<void*>(f32.data()) : type == NM_F16 ? f16.data() : bf16.data();
          a.table_stride = stride;
          a.ids = ids.data();
          a.y = y.data();
          a.y_stride = cols + 1;
          NM_OK_CALL(nm_embedding(engine, &a));
          for (int64_t t = 0; t < 6; t++) {
            for (int64_t i = 0; i < cols; i++) {
              const int64_t at = wanted[t] * stride + i;
              const double want = type == NM_F32   ? f32[at]
                                  : type == NM_F16 ? decode_f16(f16[at])
                                                   : decode_bf16(bf16[at]);
              NM_CHECK(y[t * (cols + 1) + i] == want);
            }
            if (t < 5) NM_CHECK(y[t * (cols + 1) + cols] == 77);
          }
          // The same once more on top of itself, and on top of another matrix.
          Guarded<float> sum(5 * (cols + 3) + cols, edge);
          for (float& v : sum) v = 78;
          a.residual = y.data();
          a.residual_stride = cols + 1;
          a.y = sum.data();
          a.y_stride = cols + 3;
          NM_OK_CALL(nm_embedding(engine, &a));
          a.y = y.data();
          a.y_stride = cols + 1;
          std::vector<float> once(y.begin(), y.end());
          NM_OK_CALL(nm_embedding(engine, &a));
          for (int64_t t = 0; t < 6; t++) {
            for (int64_t i = 0; i < cols; i++) {
              const float want = 2 * once[static_cast<size_t>(t * (cols + 1) + i)];
              NM_CHECK(sum[t * (cols + 3) + i] == want);
              NM_CHECK(y[t * (cols + 1) + i] == want);
            }
            for (int64_t i = cols; t < 5 && i < cols + 3; i++) NM_CHECK(sum[t * (cols + 3) + i] == 78);
          }
        }
      });
    }
  }
}

NM_TEST(wrong_arguments_are_named) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  float x[8] = {}, y[8];
  nm_convert_args good = args<nm_convert_args>();
  good.count = 8;
  good.x = x;
  good.y = y;
  NM_OK_CALL(nm_convert(engine, &good));
  using A = nm_convert_args;
  struct Row {
    const char* fragment;
    void (*spoil)(A& a);
    int32_t status = NM_ERR_ARGUMENT;
  };
  const Row rows[] = {
      {"struct_size", [](A& a) { a.struct_size = 3; }, NM_ERR_STRUCT_SIZE},
      {"from: got 6", [](A& a) { a.from = 6; }},
      {"from: got -1", [](A& a) { a.from = -1; }},
      {"to: got 3, expected 0..2", [](A& a) { a.to = NM_F64; }},
      {"x: got -1, expected at least 0", [](A& a) { a.count = -1; }},
      {"overflow", [](A& a) { a.count = INT64_MAX; }},
      {"x: got NULL", [](A& a) { a.x = nullptr; }},
      {"y: got NULL", [](A& a) { a.y = nullptr; }},
      {"x: misaligned", [](A& a) { a.x = static_cast<const uint8_t*>(a.x) + 2; }},
      {"y: misaligned", [](A& a) { a.to = NM_F16, a.y = static_cast<uint8_t*>(a.y) + 1; }},
  };
  for (const Row& row : rows) {
    A a = good;
    row.spoil(a);
    NM_REFUSED(nm_convert(engine, &a), row.status, row.fragment);
  }
  NM_REFUSED(nm_convert(nullptr, &good), NM_ERR_HANDLE, "engine");

  int32_t ids[2] = {0, 1};
  nm_embedding_args embed = args<nm_embedding_args>();
  embed.t = 2;
  embed.rows = 2;
  embed.cols = embed.table_stride = embed.y_stride = 4;
  embed.table = x;
  embed.ids = ids;
  embed.y = y;
  NM_OK_CALL(nm_embedding(engine, &embed));
  using E = nm_embedding_args;
  struct EmbeddingRow {
    const char* fragment;
    void (*spoil)(E& a);
  };
  const EmbeddingRow more[] = {
      {"type: got 3", [](E& a) { a.type = NM_F64; }},
      {"t: got -1", [](E& a) { a.t = -1; }},
      {"rows: got 0", [](E& a) { a.rows = 0; }},
      {"cols: got 0", [](E& a) { a.cols = 0; }},
      {"table: got NULL", [](E& a) { a.table = nullptr; }},
      {"table_stride: got 3", [](E& a) { a.table_stride = 3; }},
      {"ids: got NULL", [](E& a) { a.ids = nullptr; }},
      {"y: got NULL", [](E& a) { a.y = nullptr; }},
      {"y_stride: got 3", [](E& a) { a.y_stride = 3; }},
      {"residual_stride: got 0", [](E& a) { a.residual = a.y; }},
      {"residual", [](E& a) { a.residual = a.y + 1, a.residual_stride = 4; }},
  };
  for (const EmbeddingRow& row : more) {
    E a = embed;
    row.spoil(a);
    NM_REFUSED(nm_embedding(engine, &a), NM_ERR_ARGUMENT, row.fragment);
  }
  ids[1] = 2;
  NM_REFUSED(nm_embedding(engine, &embed), NM_ERR_ARGUMENT, "ids[1]: got 2, expected 0..1");
  ids[1] = -1;
  NM_REFUSED(nm_embedding(engine, &embed), NM_ERR_ARGUMENT, "ids[1]: got -1, expected 0..1");
}
