// GPTQ tensors: the worked numbers of the format, every width of codes and words and the bit planes against decoders that
// go bit by bit, round trips, refusals.
#include <algorithm>
#include <cstring>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

/** How codes lie in words. */
struct Kind {
  int32_t word_bits;
  int32_t planar;
};

constexpr Kind kOrdinary = {32, 0};
constexpr Kind kKinds[] = {kOrdinary, {16, 0}, {8, 0}, {32, 1}};

/** Words of a stream of `count` codes. */
int64_t words_of(Kind kind, int32_t bits, int64_t count) {
  return kind.planar ? (count + 31) / 32 * bits : (count * bits + kind.word_bits - 1) / kind.word_bits;
}

/** A GPTQ layer and its canonical form, between guard pages. */
struct Layer {
  Layer(int32_t bits, int64_t n, int64_t k, int64_t group, Edge edge = Edge::kEnd, Kind how = kOrdinary)
      : kind(how),
        groups((k - 1) / group + 1),
        codes(n * k, edge),
        zeros(groups * n, edge),
        weight_bytes(words_of(how, bits, k) * n * how.word_bits / 8, edge),
        zero_bytes(words_of(how, bits, n) * groups * how.word_bits / 8, edge) {
    c = args<nm_codes>();
    c.bits = bits;
    c.n = n;
    c.k = k;
    c.group_size = group;
    c.codes = codes.data();
    c.zeros = zeros.data();
    a = args<nm_gptq_args>();
    a.word_bits = kind.word_bits;
    a.planar = kind.planar;
    a.codes = &c;
    a.qweight = weight_bytes.data();
    a.qzeros = zero_bytes.data();
  }
  Layer(const Layer&) = delete;
  uint32_t* qweight() { return reinterpret_cast<uint32_t*>(weight_bytes.data()); }
  uint32_t* qzeros() { return reinterpret_cast<uint32_t*>(zero_bytes.data()); }
  const Kind kind;
  const int64_t groups;
  Guarded<uint8_t> codes, zeros;
  Guarded<uint8_t> weight_bytes, zero_bytes;
  nm_codes c;
  nm_gptq_args a;
};

/** `width` bits from bit `at` on of a stream whose words lie `stride` apart, bit by bit. */
int bits_at(const uint8_t* words, int64_t stride, int32_t word_bits, int64_t at, int32_t width) {
  int code = 0;
  for (int32_t b = 0; b < width; b++) {
    const int64_t bit = (at + b) % word_bits, word = (at + b) / word_bits * stride;
    code |= (words[word * word_bits / 8 + bit / 8] >> bit % 8 & 1) << b;
  }
  return code;
}

/** Code i of a stream, as the format is defined. */
int code_at(const uint8_t* words, int64_t stride, Kind kind, int32_t bits, int64_t i) {
  if (!kind.planar) return bits_at(words, stride, kind.word_bits, i * bits, bits);
  static const std::vector<std::vector<int32_t>> planes = {{}, {}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  int64_t word = i / 32 * bits;
  int code = 0;
  int32_t shift = 0;
  for (const int32_t width : planes[static_cast<size_t>(bits)]) {
    code |= bits_at(words, stride, 32, word * 32 + i % 32 * width, width) << shift;
    shift += width;
    word += width;
  }
  return code;
}

void fill(Layer& layer, uint64_t seed, int least_zero) {
  Random random(seed);
  for (uint8_t& code : layer.codes) code = static_cast<uint8_t>(random.below(1 << layer.c.bits));
  for (uint8_t& zero : layer.zeros)
    zero = static_cast<uint8_t>(least_zero + random.below((1 << layer.c.bits) - least_zero));
}

struct Worked {
  int32_t bits;
  std::vector<int> values;  // repeated to 32
  std::vector<uint32_t> words;
  int32_t zero_offset;
  Kind kind = kOrdinary;
};

void check_words(const char* what, const uint32_t* got, const std::vector<uint32_t>& want) {
  for (size_t i = 0; i < want.size(); i++)
    NM_CHECK_MSG(got[i] == want[i], "%s: word %zu is %08x, expected %08x", what, i, got[i], want[i]);
}

}  // namespace

NM_TEST(qweight_has_the_worked_numbers) {
  const Worked cases[] = {
      {2, {3, 0, 1, 2}, {0x93939393, 0x93939393}, 0},
      {3, {3, 0, 5, 2, 7, 4, 1, 6}, {0x43c67543, 0x7543c675, 0xc67543c6}, 0},
      {4, {3, 8, 13, 2, 7, 12, 1, 6, 11, 0, 5, 10, 15, 4, 9, 14}, {0x61c72d83, 0xe94fa50b}, 0},
      {4, {3, 8, 13, 2, 7, 12, 1, 6, 11, 0, 5, 10, 15, 4, 9, 14}, {0x61c72d83, 0xe94fa50b}, 0, {16, 0}},
      {4, {3, 8, 13, 2, 7, 12, 1, 6, 11, 0, 5, 10, 15, 4, 9, 14}, {0x61c72d83, 0xe94fa50b}, 0, {8, 0}},
      {8, {11, 48, 85, 122, 159, 196, 233, 14}, {0x7a55300b, 0x0ee9c49f}, 0}};
  nmtest::on_every_tier([&](const TestEngine& engine) {
    for (const Worked& w : cases) {
      Layer layer(w.bits, 1, 32, 32, Edge::kEnd, w.kind);
      for (int64_t k = 0; k < 32; k++)
        layer.codes[k] = static_cast<uint8_t>(w.values[static_cast<size_t>(k) % w.values.size()]);
      NM_OK_CALL(nm_gptq_pack(engine, &layer.a));
      check_words("qweight", layer.qweight(), w.words);
    }
  });
}

NM_TEST(qzeros_have_the_worked_numbers_of_both_versions) {
  const Worked cases[] = {{2, {2}, {0xaaaaaaaa}, 0},
                          {2, {2}, {0x55555555}, 1},
                          {3, {2, 5, 1, 4, 7, 3, 6}, {0x0d59f86a, 0x67e1ab3f, 0x86acfc35}, 0},
                          {3, {2, 5, 1, 4, 7, 3, 6}, {0xc4356621, 0xd59886ac, 0x621ab310}, 1},
                          {3, {4}, {0x24924924, 0x49249249, 0x92492492}, 0},
                          {3, {4}, {0xdb6db6db, 0xb6db6db6, 0x6db6db6d}, 1},
                          {4, {2, 5, 8, 11, 14}, {0x852eb852, 0x2eb852eb, 0xb852eb85, 0x52eb852e}, 0},
                          {4, {2, 5, 8, 11, 14}, {0x741da741, 0x1da741da, 0xa741da74, 0x41da741d}, 1},
                          {8, {2, 31, 60, 89}, {0x593c1f02}, 0},
                          {8, {2, 31, 60, 89}, {0x583b1e01}, 1},
                          {8, {128}, {0x7f7f7f7f}, 1},
                          {5, {16}, {0, 0, 0, 0, 0xffffffff}, 0, {32, 1}},
                          {3, {4}, {0, 0, 0xffffffff}, 0, {32, 1}},
                          {7, {64}, {0, 0, 0, 0, 0, 0, 0xffffffff}, 0, {32, 1}},
                          {6, {32}, {0, 0, 0, 0, 0xaaaaaaaa, 0xaaaaaaaa}, 0, {32, 1}},
                          {4, {2, 5, 8, 11, 14}, {0x852eb852, 0x2eb852eb, 0xb852eb85, 0x52eb852e}, 0, {16, 0}},
                          {8, {2, 31, 60, 89}, {0x583b1e01}, 1, {8, 0}}};
  nmtest::on_every_tier([&](const TestEngine& engine) {
    for (const Worked& w : cases) {
      Layer layer(w.bits, 32, 1, 1, Edge::kEnd, w.kind);
      for (int64_t n = 0; n < 32; n++)
        layer.zeros[n] = static_cast<uint8_t>(w.values[static_cast<size_t>(n) % w.values.size()]);
      layer.a.zero_offset = w.zero_offset;
      NM_OK_CALL(nm_gptq_pack(engine, &layer.a));
      check_words("qzeros", layer.qzeros(), w.words);
      const std::vector<uint8_t> before(layer.zeros.begin(), layer.zeros.end());
      std::fill(layer.zeros.begin(), layer.zeros.end(), uint8_t{255});
      NM_OK_CALL(nm_gptq_unpack(engine, &layer.a));
      NM_CHECK(std::equal(before.begin(), before.end(), layer.zeros.begin()));
    }
  });
}

/** The words of a packed layer, decoded bit by bit, are its codes and zeros. */
static bool holds_what_was_packed(const Layer& layer) {
  const int64_t n = layer.c.n, k = layer.c.k, word_bytes = layer.kind.word_bits / 8;
  const int64_t row = words_of(layer.kind, layer.c.bits, n) * word_bytes;
  bool same = true;
  for (int64_t i = 0; i < n * k; i++)
    same &=
        code_at(layer.weight_bytes.data() + i / k * word_bytes, n, layer.kind, layer.c.bits, i % k) == layer.codes[i];
  for (int64_t i = 0; i < layer.groups * n; i++)
    same &= code_at(layer.zero_bytes.data() + i / n * row, 1, layer.kind, layer.c.bits, i % n) ==
            layer.zeros[i] - layer.a.zero_offset;
  return same;
}

/** packed: the words of the first engine, decoded; of another the same bytes are expected. */
static void check_width(const TestEngine& engine, Kind kind, int32_t bits, int64_t n, int64_t k,
                        std::vector<uint8_t>& packed) {
  const int32_t offset = static_cast<int32_t>((n + k) % 2);
  const Edge edge = k % 2 == 0 ? Edge::kEnd : Edge::kStart;
  Layer layer(bits, n, k, std::min<int64_t>(k, 32), edge, kind);
  fill(layer, static_cast<uint64_t>(n * 1000 + k), offset);
  layer.a.zero_offset = offset;
  NM_OK_CALL(nm_gptq_pack(engine, &layer.a));
  const std::string what =
      nmtest::text("words of %d%s, bits %d N %lld K %lld", kind.word_bits, kind.planar ? " planar" : "", bits,
                   static_cast<long long>(n), static_cast<long long>(k));
  std::vector<uint8_t> words(layer.weight_bytes.begin(), layer.weight_bytes.end());
  words.insert(words.end(), layer.zero_bytes.begin(), layer.zero_bytes.end());
  if (packed.empty()) {
    NM_CHECK_MSG(holds_what_was_packed(layer), "%s: they are wrong", what.c_str());
    packed = words;
  }
  NM_CHECK_MSG(words == packed, "%s: others than of the first engine", what.c_str());
  Layer back(bits, n, k, std::min<int64_t>(k, 32), edge, kind);
  std::copy(layer.weight_bytes.begin(), layer.weight_bytes.end(), back.weight_bytes.begin());
  std::copy(layer.zero_bytes.begin(), layer.zero_bytes.end(), back.zero_bytes.begin());
  back.a.zero_offset = offset;
  NM_OK_CALL(nm_gptq_unpack(engine, &back.a));
  NM_CHECK(std::equal(layer.codes.begin(), layer.codes.end(), back.codes.begin()));
  NM_CHECK(std::equal(layer.zeros.begin(), layer.zeros.end(), back.zeros.begin()));
}

NM_TEST(every_width_and_tail_agrees_with_a_bit_by_bit_decoder_and_comes_back) {
  std::vector<std::vector<uint8_t>> packed(std::size(kKinds) * 7 * 5 * 5);
  nmtest::on_every_tier([&](const TestEngine& engine) {
    auto at = packed.begin();
    for (const Kind kind : kKinds)
      for (int32_t bits = 2; bits <= 8; bits++)
        for (const int64_t n : {1, 7, 33, 64, 100})
          for (const int64_t k : {1, 5, 31, 64, 172}) check_width(engine, kind, bits, n, k, *at++);
  });
}

NM_TEST(narrow_words_are_the_same_bytes_of_a_stream) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  for (int32_t bits = 2; bits <= 8; bits++) {
    Layer wide(bits, 1, 96, 96);
    fill(wide, 5, 0);
    NM_OK_CALL(nm_gptq_pack(engine, &wide.a));
    for (const Kind kind : {Kind{16, 0}, Kind{8, 0}}) {
      Layer narrow(bits, 1, 96, 96, Edge::kEnd, kind);
      std::copy(wide.codes.begin(), wide.codes.end(), narrow.codes.begin());
      NM_OK_CALL(nm_gptq_pack(engine, &narrow.a));
      NM_CHECK(std::equal(wide.weight_bytes.begin(), wide.weight_bytes.end(), narrow.weight_bytes.begin()));
    }
  }
}

NM_TEST(many_threads_pack_large_layers_alike) {
  Layer one(3, 1000, 700, 64);
  fill(one, 1, 1);
  one.a.zero_offset = 1;
  NM_OK_CALL(nm_gptq_pack(TestEngine(NM_TIER_REFERENCE, 1), &one.a));
  const std::vector<uint8_t> first(one.weight_bytes.begin(), one.weight_bytes.end());
  const TestEngine engine(NM_TIER_REFERENCE, 3);
  NM_OK_CALL(nm_gptq_pack(engine, &one.a));
  NM_CHECK(std::equal(first.begin(), first.end(), one.weight_bytes.begin()));
  const std::vector<uint8_t> codes(one.codes.begin(), one.codes.end());
  std::fill(one.codes.begin(), one.codes.end(), uint8_t{0});
  NM_OK_CALL(nm_gptq_unpack(engine, &one.a));
  NM_CHECK(std::equal(codes.begin(), codes.end(), one.codes.begin()));
}

NM_TEST(a_stored_zero_of_all_ones_wraps_lane_by_lane) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  Layer layer(4, 8, 8, 8);
  layer.qzeros()[0] = 0x741da6f1;  // [2,0,7,11,...]: lane 1 holds 15
  layer.a.zero_offset = 1;
  NM_OK_CALL(nm_gptq_unpack(engine, &layer.a));
  const uint8_t expected[] = {2, 0, 7, 11, 14, 2, 5, 8};
  NM_CHECK(std::equal(expected, expected + 8, layer.zeros.begin()));
}

NM_TEST(packing_refuses_what_the_format_cannot_hold) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  Layer layer(4, 40, 64, 32);
  fill(layer, 1, 1);
  layer.a.zero_offset = 1;
  layer.zeros[40 + 3] = 0;
  NM_REFUSED(nm_gptq_pack(engine, &layer.a), NM_ERR_ARGUMENT, "zeros[1,3]: got 0, expected 1..15: the v1 layout");
  layer.a.zero_offset = 0;
  NM_OK_CALL(nm_gptq_pack(engine, &layer.a));
  layer.zeros[5] = 16;
  NM_REFUSED(nm_gptq_pack(engine, &layer.a), NM_ERR_ARGUMENT, "zeros[0,5]: got 16, expected 0..15");
  layer.zeros[5] = 1;
  layer.codes[39 * 64 + 63] = 77;
  NM_REFUSED(nm_gptq_pack(engine, &layer.a), NM_ERR_ARGUMENT, "codes[39,63]: got 77, expected 0..15");
}

NM_TEST(gptq_refuses_bad_arguments_by_name) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  Layer good(4, 40, 64, 32);
  const auto refused = [&](int32_t status, const char* fragment, auto&& change) {
    nm_codes c = good.c;
    nm_gptq_args a = good.a;
    a.codes = &c;
    change(a, c);
    NM_REFUSED(nm_gptq_pack(engine, &a), status, fragment);
    NM_REFUSED(nm_gptq_unpack(engine, &a), status, fragment);
  };
  const int32_t bad = NM_ERR_ARGUMENT;
  refused(NM_ERR_STRUCT_SIZE, "args.struct_size", [](nm_gptq_args& a, nm_codes&) { a.struct_size = 0; });
  refused(NM_ERR_STRUCT_SIZE, "codes.struct_size", [](nm_gptq_args&, nm_codes& c) { c.struct_size = 0; });
  refused(bad, "codes: got NULL", [](nm_gptq_args& a, nm_codes&) { a.codes = nullptr; });
  refused(bad, "bits: got 0", [](nm_gptq_args&, nm_codes& c) { c.bits = 0; });
  refused(bad, "n: got 0", [](nm_gptq_args&, nm_codes& c) { c.n = 0; });
  refused(bad, "overflow", [](nm_gptq_args&, nm_codes& c) { c.n = int64_t{1} << 45; });
  refused(bad, "k: got 0", [](nm_gptq_args&, nm_codes& c) { c.k = 0; });
  refused(bad, "group_size: got 0", [](nm_gptq_args&, nm_codes& c) { c.group_size = 0; });
  refused(bad, "zero_offset: got 2", [](nm_gptq_args& a, nm_codes&) { a.zero_offset = 2; });
  refused(bad, "word_bits: got 0, expected 32, 16 or 8", [](nm_gptq_args& a, nm_codes&) { a.word_bits = 0; });
  refused(bad, "word_bits: got 64", [](nm_gptq_args& a, nm_codes&) { a.word_bits = 64; });
  refused(bad, "word_bits: got 16, expected 32", [](nm_gptq_args& a, nm_codes&) {
    a.word_bits = 16;
    a.planar = 1;
  });
  refused(bad, "planar: got 2", [](nm_gptq_args& a, nm_codes&) { a.planar = 2; });
  refused(bad, "qweight: misaligned", [](nm_gptq_args& a, nm_codes&) {
    a.word_bits = 16;
    a.qweight = static_cast<char*>(a.qweight) + 1;
  });
  refused(bad, "codes: got NULL", [](nm_gptq_args&, nm_codes& c) { c.codes = nullptr; });
  refused(bad, "zeros: got NULL", [](nm_gptq_args&, nm_codes& c) { c.zeros = nullptr; });
  refused(bad, "qweight: got NULL", [](nm_gptq_args& a, nm_codes&) { a.qweight = nullptr; });
  refused(bad, "qzeros: misaligned", [](nm_gptq_args& a, nm_codes&) { a.qzeros = static_cast<char*>(a.qzeros) + 2; });
  refused(bad, "qweight: overlaps codes",
          [](nm_gptq_args& a, nm_codes& c) { c.codes = static_cast<uint8_t*>(a.qweight) + 1; });
}
