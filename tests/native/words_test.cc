// Words of the layouts that keep scales apart: the worked numbers of the formats, every shape against decoders that go
// nibble by nibble or bit by bit, round trips between guard pages, refusals.
#include <algorithm>
#include <cstring>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

int64_t words_bytes(int32_t layout, int32_t bits, int64_t n, int64_t k) {
  return layout == NM_WORDS_ROWS ? n * ((k * bits + 31) / 32) * 4 : n * k / 2;
}

/** Codes and words of a layer, between guard pages. */
struct Layer {
  Layer(int32_t layout, int32_t bits, int64_t n, int64_t k, Edge edge = Edge::kEnd)
      : codes(n * k, edge), words(words_bytes(layout, bits, n, k), edge) {
    a = args<nm_words_args>();
    a.layout = layout;
    a.bits = bits;
    a.n = n;
    a.k = k;
    a.codes = codes.data();
    a.words = words.data();
  }
  Layer(const Layer&) = delete;
  uint32_t word(int64_t i) const {
    uint32_t w;
    std::memcpy(&w, words.data() + 4 * i, sizeof w);
    return w;
  }
  uint16_t half(int64_t i) const {
    uint16_t w;
    std::memcpy(&w, words.data() + 2 * i, sizeof w);
    return w;
  }
  void fill(uint64_t seed) {
    Random random(seed);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.below(1 << a.bits));
  }
  Guarded<uint8_t> codes, words;
  nm_words_args a;
};

/** Where code [n,k] lies in a tile layout, by search over the rule of the header. */
int tile_code(const Layer& layer, int64_t n, int64_t k) {
  const int even[] = {0, 2, 4, 6, 1, 3, 5, 7}, high[] = {4, 0, 5, 1, 6, 2, 7, 3}, step[] = {0, 1, 8, 9};
  const bool marlin = layer.a.layout == NM_WORDS_MARLIN, channel = layer.a.layout == NM_WORDS_QQQ_CHANNEL;
  for (int64_t th = 0; th < 32; th++)
    for (int64_t wp = 0; wp < 4; wp++)
      for (int64_t i = 0; i < 8; i++) {
        const int p = (channel ? high : even)[i];
        const int64_t column = marlin ? 2 * (th % 4) + step[p % 4] : 4 * (th % 4) + p % 4;
        if (n % 64 != 16 * wp + th / 4 + 8 * (p / 4) || k % 16 != column) continue;
        const int code = layer.word(k / 16 * 2 * layer.a.n + n / 64 * 128 + 4 * th + wp) >> 4 * i & 15;
        return channel ? (code < 8 ? code + 8 : code - 8) : code;
      }
  return -1;
}

int fast_code(const Layer& layer, int64_t n, int64_t k) {
  const int64_t in = k % 64, i = in % 32 / 8, w = in / 32 * 8 + in % 8;
  return layer.half(n / 4 * layer.a.k + k / 64 * 64 + n % 4 * 16 + w) >> 4 * i & 15;
}

int row_code(const Layer& layer, int64_t n, int64_t k) {
  const int64_t row = (layer.a.k * layer.a.bits + 31) / 32;
  int code = 0;
  for (int32_t b = 0; b < layer.a.bits; b++) {
    const int64_t bit = k * layer.a.bits + b;
    code |= static_cast<int>(layer.word(n * row + bit / 32) >> bit % 32 & 1) << b;
  }
  return code;
}

int code_of(const Layer& layer, int64_t n, int64_t k) {
  if (layer.a.layout == NM_WORDS_ROWS) return row_code(layer, n, k);
  return layer.a.layout == NM_WORDS_GEMV_FAST ? fast_code(layer, n, k) : tile_code(layer, n, k);
}

/** The rule by which the worked numbers were made. */
void fill_by_rule(Layer& layer, int64_t modulus) {
  for (int64_t n = 0; n < layer.a.n; n++)
    for (int64_t k = 0; k < layer.a.k; k++) {
      const int64_t sum = 7 * n + 3 * k + n * k / 5 + k / 8;
      layer.codes[n * layer.a.k + k] = static_cast<uint8_t>(modulus == 16 ? sum % 16 : sum % 15 + 1);
    }
}

void check_pack(const TestEngine& engine, int32_t layout, int32_t bits, int64_t n, int64_t k) {
  const Edge edge = (n + k / 16) % 2 == 0 ? Edge::kEnd : Edge::kStart;
  Layer layer(layout, bits, n, k, edge);
  layer.fill(static_cast<uint64_t>(n * 1000 + k));
  NM_OK_CALL(nm_words_pack(engine, &layer.a));
  bool same = true;
  for (int64_t i = 0; i < n * k; i++) same &= code_of(layer, i / k, i % k) == layer.codes[i];
  NM_CHECK_MSG(same, "layout %d bits %d N %lld K %lld: the words are wrong", layout, bits, static_cast<long long>(n),
               static_cast<long long>(k));
  Layer back(layout, bits, n, k, edge);
  std::copy(layer.words.begin(), layer.words.end(), back.words.begin());
  NM_OK_CALL(nm_words_unpack(engine, &back.a));
  NM_CHECK(std::equal(layer.codes.begin(), layer.codes.end(), back.codes.begin()));
}

}  // namespace

NM_TEST(words_have_the_worked_numbers) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  const auto expect = [&](int32_t layout, int64_t modulus, int64_t at, uint32_t want) {
    Layer layer(layout, 4, 128, 128);
    fill_by_rule(layer, modulus);
    NM_OK_CALL(nm_words_pack(engine, &layer.a));
    const uint32_t got = layout == NM_WORDS_GEMV_FAST ? layer.half(at) : layer.word(at);
    NM_CHECK_MSG(got == want, "layout %d: word %lld is %08x, expected %08x", layout, static_cast<long long>(at), got,
                 want);
  };
  const uint32_t marlin[] = {0x2cc3d890, 0xff867820, 0xc35918c0, 0x862ca850, 0xb52971f6};
  for (int64_t i = 0; i < 5; i++) expect(NM_WORDS_MARLIN, 16, i, marlin[i]);
  expect(NM_WORDS_MARLIN, 16, 256, 0xe8e593b2);
  expect(NM_WORDS_MARLIN, 16, 128, 0x59ff48f0);
  const uint32_t channel[] = {0x22fec994, 0x34dc630c, 0x56bb1f73};  // of signed codes ((rule without mod) mod 15) - 7
  for (int64_t i = 0; i < 3; i++) expect(NM_WORDS_QQQ_CHANNEL, 15, i, channel[i]);
  const uint32_t group[] = {0x5c931860, 0xff2678c0, 0x93c9e820};
  for (int64_t i = 0; i < 3; i++) expect(NM_WORDS_QQQ_GROUP, 16, i, group[i]);
  expect(NM_WORDS_GEMV_FAST, 16, 0, 0xb290);
  expect(NM_WORDS_GEMV_FAST, 16, 1, 0xe5c3);
  expect(NM_WORDS_GEMV_FAST, 16, 8, 0xf6d4);
  expect(NM_WORDS_GEMV_FAST, 16, 16, 0x6c17);
  expect(NM_WORDS_ROWS, 16, 0, 0x52fc9630);
  expect(NM_WORDS_ROWS, 16, 1, 0xeb852fc9);
}

NM_TEST(words_of_rows_agree_with_a_bit_by_bit_decoder_and_come_back) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  for (int32_t bits = 2; bits <= 8; bits++)
    for (const int64_t n : {1, 7, 33})
      for (const int64_t k : {1, 5, 31, 32, 33, 64, 172}) check_pack(engine, NM_WORDS_ROWS, bits, n, k);
}

NM_TEST(words_of_blocks_agree_with_a_nibble_by_nibble_decoder_and_come_back) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  for (const int32_t layout : {NM_WORDS_MARLIN, NM_WORDS_QQQ_CHANNEL, NM_WORDS_QQQ_GROUP})
    for (const int64_t n : {64, 192})
      for (const int64_t k : {16, 48, 80}) check_pack(engine, layout, 4, n, k);
  for (const int64_t n : {4, 20})
    for (const int64_t k : {64, 192}) check_pack(engine, NM_WORDS_GEMV_FAST, 4, n, k);
}

NM_TEST(words_are_alike_on_many_threads) {
  for (const int32_t layout : {NM_WORDS_ROWS, NM_WORDS_GEMV_FAST, NM_WORDS_MARLIN}) {
    Layer one(layout, 4, 512, 256), many(layout, 4, 512, 256);
    one.fill(3);
    many.fill(3);
    NM_OK_CALL(nm_words_pack(TestEngine(NM_TIER_REFERENCE, 1), &one.a));
    NM_OK_CALL(nm_words_pack(TestEngine(NM_TIER_REFERENCE, 3), &many.a));
    NM_CHECK(std::equal(one.words.begin(), one.words.end(), many.words.begin()));
    std::fill(many.codes.begin(), many.codes.end(), uint8_t{0});
    NM_OK_CALL(nm_words_unpack(TestEngine(NM_TIER_REFERENCE, 3), &many.a));
    NM_CHECK(std::equal(one.codes.begin(), one.codes.end(), many.codes.begin()));
  }
}

NM_TEST(words_refuse_bad_arguments_by_name) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  Layer rows(NM_WORDS_ROWS, 4, 64, 64), tile(NM_WORDS_MARLIN, 4, 64, 64), fast(NM_WORDS_GEMV_FAST, 4, 64, 64);
  const auto refused = [&](const Layer& layer, const char* fragment, auto&& change) {
    nm_words_args a = layer.a;
    change(a);
    NM_REFUSED(nm_words_pack(engine, &a), NM_ERR_ARGUMENT, fragment);
    NM_REFUSED(nm_words_unpack(engine, &a), NM_ERR_ARGUMENT, fragment);
  };
  refused(rows, "layout: got 5", [](nm_words_args& a) { a.layout = 5; });
  refused(rows, "layout: got -1", [](nm_words_args& a) { a.layout = -1; });
  refused(rows, "bits: got 1, expected 2..8", [](nm_words_args& a) { a.bits = 1; });
  refused(tile, "bits: got 8, expected 4..4", [](nm_words_args& a) { a.bits = 8; });
  refused(tile, "n: got 32, expected a multiple of 64", [](nm_words_args& a) { a.n = 32; });
  refused(tile, "k: got 24, expected a multiple of 16", [](nm_words_args& a) { a.k = 24; });
  refused(fast, "n: got 62, expected a multiple of 4", [](nm_words_args& a) { a.n = 62; });
  refused(fast, "k: got 32, expected a multiple of 64", [](nm_words_args& a) { a.k = 32; });
  refused(rows, "n: got 0", [](nm_words_args& a) { a.n = 0; });
  refused(rows, "overflow", [](nm_words_args& a) { a.n = int64_t{1} << 45; });
  refused(rows, "codes: got NULL", [](nm_words_args& a) { a.codes = nullptr; });
  refused(rows, "words: got NULL", [](nm_words_args& a) { a.words = nullptr; });
  refused(tile, "words: misaligned", [](nm_words_args& a) { a.words = static_cast<char*>(a.words) + 2; });
  refused(fast, "words: misaligned", [](nm_words_args& a) { a.words = static_cast<char*>(a.words) + 1; });
  refused(rows, "words: overlaps codes", [](nm_words_args& a) { a.codes = static_cast<uint8_t*>(a.words) + 1; });
  for (Layer* layer : {&rows, &tile, &fast}) {
    layer->codes[64 * 63 + 63] = 77;
    NM_REFUSED(nm_words_pack(engine, &layer->a), NM_ERR_ARGUMENT, "codes[63,63]: got 77, expected 0..15");
  }
}
