// The emulated AMX tiles against matrices multiplied element by element, and the uses of them that a CPU refuses.
#include <cstring>
#include <stdexcept>

#include "emulate/amx.h"
#include "harness.h"

using nm_emulate::TileConfig;
using nmtest::Guarded;
using nmtest::Random;

namespace {

constexpr int kC = 0, kA = 1, kB = 2, kOther = 7;

/** C[m][n] (4-byte elements), A[m][k], B[k][n]; the fourth tile is whole. */
TileConfig config_of(int m, int n, int k) {
  TileConfig c = {};
  c.palette = 1;
  const auto set = [&](int tile, int rows, int columns) {
    c.rows[tile] = static_cast<uint8_t>(rows);
    c.bytes[tile] = static_cast<uint16_t>(columns * 4);
  };
  set(kC, m, n);
  set(kA, m, k);
  set(kB, k, n);
  set(kOther, 16, 16);
  return c;
}

struct Size {
  int m, n, k;
};
constexpr Size kSizes[] = {{16, 16, 16}, {1, 1, 1}, {16, 3, 7}, {5, 16, 16}, {7, 9, 2}};

template <class Fn>
std::string refusal(Fn fn) {
  try {
    fn();
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "accepted";
}

void check_refused(const char* fragment, const std::string& said) {
  NM_CHECK_MSG(said.find(fragment) != std::string::npos, "got '%s', expected '%s'", said.c_str(), fragment);
}

/** int64 products of all 8-bit patterns in random places, added to random sums modulo 2^32. */
template <class A, class B, class Product>
void check_int8(const char* name, Product product) {
  Random random(7);
  for (const Size& s : kSizes) {
    const TileConfig config = config_of(s.m, s.n, s.k);
    _tile_loadconfig(&config);
    Guarded<A> a(s.m * s.k * 4);
    Guarded<B> b(s.k * s.n * 4);
    Guarded<int32_t> c(s.m * s.n), got(s.m * s.n);
    for (A& x : a) x = static_cast<A>(random.bits());
    for (B& x : b) x = static_cast<B>(random.bits());
    for (int32_t& x : c) x = static_cast<int32_t>(random.bits());
    _tile_loadd(kA, a.data(), s.k * 4);
    _tile_loadd(kB, b.data(), s.n * 4);
    _tile_loadd(kC, c.data(), s.n * 4);
    product();
    _tile_stored(kC, got.data(), s.n * 4);
    for (int m = 0; m < s.m; m++)
      for (int n = 0; n < s.n; n++) {
        int64_t sum = c[m * s.n + n];
        for (int k = 0; k < s.k * 4; k++)
          sum += int64_t{a[m * s.k * 4 + k]} * int64_t{b[k / 4 * s.n * 4 + n * 4 + k % 4]};
        NM_CHECK_MSG(static_cast<uint32_t>(sum) == static_cast<uint32_t>(got[m * s.n + n]), "%s [%d,%d] of %dx%dx%d",
                     name, m, n, s.m, s.n, s.k);
      }
  }
}

uint16_t bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

float wide(uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

/** c + a b of 1 x 1 elements (two products). */
float one_dot(float c, float a0, float a1, float b0, float b1) {
  const TileConfig config = config_of(1, 1, 1);
  _tile_loadconfig(&config);
  const uint16_t a[] = {bf16(a0), bf16(a1)}, b[] = {bf16(b0), bf16(b1)};
  _tile_loadd(kA, a, 4);
  _tile_loadd(kB, b, 4);
  _tile_loadd(kC, &c, 4);
  _tile_dpbf16ps(kC, kA, kB);
  _tile_stored(kC, &c, 4);
  return c;
}

}  // namespace

NM_TEST(int8_products_are_exact_in_every_pair_of_signs) {
  check_int8<int8_t, int8_t>("ss", [] { _tile_dpbssd(kC, kA, kB); });
  check_int8<int8_t, uint8_t>("su", [] { _tile_dpbsud(kC, kA, kB); });
  check_int8<uint8_t, int8_t>("us", [] { _tile_dpbusd(kC, kA, kB); });
  check_int8<uint8_t, uint8_t>("uu", [] { _tile_dpbuud(kC, kA, kB); });
}

NM_TEST(bf16_products_are_within_the_rounding_of_their_sums) {
  Random random(8);
  for (const Size& s : kSizes) {
    const TileConfig config = config_of(s.m, s.n, s.k);
    _tile_loadconfig(&config);
    Guarded<uint16_t> a(s.m * s.k * 2), b(s.k * s.n * 2);
    Guarded<float> c(s.m * s.n), got(s.m * s.n);
    for (uint16_t& x : a) x = bf16(random.normal());
    for (uint16_t& x : b) x = bf16(random.normal());
    for (float& x : c) x = random.normal();
    _tile_loadd(kA, a.data(), s.k * 4);
    _tile_loadd(kB, b.data(), s.n * 4);
    _tile_loadd(kC, c.data(), s.n * 4);
    _tile_dpbf16ps(kC, kA, kB);
    _tile_stored(kC, got.data(), s.n * 4);
    std::vector<double> want, size;
    for (int m = 0; m < s.m; m++)
      for (int n = 0; n < s.n; n++) {
        double sum = double{c[m * s.n + n]}, sizes = std::fabs(sum);
        for (int k = 0; k < s.k * 2; k++) {
          const double product = double{wide(a[m * s.k * 2 + k])} * double{wide(b[k / 2 * s.n * 2 + n * 2 + k % 2])};
          sum += product;
          sizes += std::fabs(product);
        }
        want.push_back(sum);
        size.push_back(sizes);
      }
    nmtest::check_close("bf16", got.data(), want.data(), s.m * s.n,
                        [&](int64_t i) { return nmtest::gamma(s.k + 2) * size[static_cast<size_t>(i)]; });
  }
}

NM_TEST(bf16_sums_even_and_odd_apart_and_flushes_subnormals) {
  // Added to C one by one, both ones would be lost in 2^24; together they are not.
  NM_CHECK(one_dot(0x1p24f, 1, 1, 1, 1) == 0x1p24f + 2);
  NM_CHECK(one_dot(0, 0x1p-130f, 0, 0x1p20f, 0) == 0);
  NM_CHECK(one_dot(0x1p-130f, 0, 0, 0, 0) == 0);
  NM_CHECK(one_dot(0, 0x1p-100f, 0, 0x1p-30f, 0) == 0);
  NM_CHECK(one_dot(1, INFINITY, 0, 1, 0) == INFINITY);
}

NM_TEST(loads_read_and_stores_write_only_what_is_configured_and_the_rest_becomes_zero) {
  const TileConfig config = config_of(3, 5, 2);
  _tile_loadconfig(&config);
  constexpr int64_t kStride = 48;
  Guarded<uint8_t> from(2 * kStride + 20), to(2 * kStride + 20);
  for (int64_t i = 0; i < from.size(); i++) from[i] = static_cast<uint8_t>(i + 1);
  nm_emulate::tiles.tile[kC].at[9][60] = 1;
  _tile_loadd(kC, from.data(), kStride);
  _tile_stored(kC, to.data(), kStride);
  for (int64_t i = 0; i < to.size(); i++) NM_CHECK(to[i] == (i % kStride < 20 ? from[i] : 0));
  NM_CHECK(nm_emulate::tiles.tile[kC].at[9][60] == 0);
  _tile_stream_loadd(kC, from.data(), kStride);
  _tile_zero(kC);
  _tile_stored(kC, to.data(), kStride);
  for (const uint8_t byte : to) NM_CHECK(byte == 0);
}

NM_TEST(a_configuration_can_be_read_back_and_clears_the_tiles) {
  const TileConfig config = config_of(3, 5, 2);
  _tile_loadconfig(&config);
  nm_emulate::tiles.tile[kC].at[0][0] = 1;
  TileConfig read;
  _tile_storeconfig(&read);
  NM_CHECK(std::memcmp(&read, &config, sizeof read) == 0);
  _tile_loadconfig(&config);
  NM_CHECK(nm_emulate::tiles.tile[kC].at[0][0] == 0);
  _tile_release();
  _tile_storeconfig(&read);
  const TileConfig none = {};
  NM_CHECK(std::memcmp(&read, &none, sizeof read) == 0);
}

NM_TEST(what_a_cpu_refuses_is_refused_by_name) {
  const TileConfig good = config_of(3, 5, 2);
  const auto refused = [&](const char* fragment, auto&& change) {
    TileConfig c = good;
    change(c);
    check_refused(fragment, refusal([&] { _tile_loadconfig(&c); }));
  };
  refused("accepted", [](TileConfig&) {});
  refused("palette", [](TileConfig& c) { c.palette = 2; });
  refused("start_row", [](TileConfig& c) { c.start_row = 1; });
  refused("reserved", [](TileConfig& c) { c.reserved[13] = 1; });
  refused("reserved", [](TileConfig& c) { c.reserved_rows[0] = 1; });
  refused("16 rows", [](TileConfig& c) { c.rows[3] = 17; });
  refused("64 bytes", [](TileConfig& c) { c.bytes[1] = 65; });
  refused("rows without bytes", [](TileConfig& c) { c.rows[5] = 1; });

  const auto refused_product = [&](const char* fragment, auto&& change) {
    TileConfig c = good;
    change(c);
    _tile_loadconfig(&c);
    check_refused(fragment, refusal([] { _tile_dpbssd(kC, kA, kB); }));
    check_refused(fragment, refusal([] { _tile_dpbf16ps(kC, kA, kB); }));
  };
  refused_product("accepted", [](TileConfig&) {});
  refused_product("not configured", [](TileConfig& c) { c.rows[kB] = 0, c.bytes[kB] = 0; });
  refused_product("4-byte elements", [](TileConfig& c) { c.bytes[kA] = 7; });
  refused_product("C and A differ", [](TileConfig& c) { c.rows[kA] = 4; });
  refused_product("C and B differ", [](TileConfig& c) { c.bytes[kB] = 24; });
  refused_product("as many columns", [](TileConfig& c) { c.bytes[kA] = 12; });
  check_refused("the same tile", refusal([] { _tile_dpbssd(kA, kA, kB); }));
  const volatile int ninth = 8;  // which the compiler must not see
  check_refused("tiles 0 to 7", refusal([&] { _tile_zero(ninth); }));
  _tile_release();
  check_refused("not configured", refusal([] { _tile_zero(0); }));
}
