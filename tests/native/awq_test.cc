// AWQ tensors in the GEMM layout: the worked numbers of the format, every tile's edge against a decoder that goes nibble
// by nibble, round trips, refusals.
#include <algorithm>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

/** An AWQ layer and its canonical form, between guard pages. */
struct Layer {
  Layer(int64_t n, int64_t k, int64_t group, Edge edge = Edge::kEnd)
      : groups((k - 1) / group + 1),
        codes(n * k, edge),
        zeros(groups * n, edge),
        qweight(k * n / 8, edge),
        qzeros(groups * n / 8, edge) {
    c = args<nm_codes>();
    c.bits = 4;
    c.n = n;
    c.k = k;
    c.group_size = group;
    c.codes = codes.data();
    c.zeros = zeros.data();
    a = args<nm_awq_args>();
    a.codes = &c;
    a.qweight = qweight.data();
    a.qzeros = qzeros.data();
  }
  Layer(const Layer&) = delete;
  const int64_t groups;
  Guarded<uint8_t> codes, zeros;
  Guarded<uint32_t> qweight, qzeros;
  nm_codes c;
  nm_awq_args a;
};

/** Element e of a row of words: nibble i of a word holds its element order[i]. */
int element_at(const uint32_t* words, int64_t e) {
  const int order[] = {0, 2, 4, 6, 1, 3, 5, 7};
  const int64_t nibble = std::find(order, order + 8, e % 8) - order;
  return static_cast<int>(words[e / 8] >> 4 * nibble & 15);
}

void fill(Layer& layer, uint64_t seed) {
  Random random(seed);
  for (uint8_t& code : layer.codes) code = static_cast<uint8_t>(random.below(16));
  for (uint8_t& zero : layer.zeros) zero = static_cast<uint8_t>(random.below(16));
}

}  // namespace

NM_TEST(awq_words_are_the_worked_ones) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    Layer layer(8, 2, 2);
    for (int64_t n = 0; n < 8; n++) {
      for (int64_t k = 0; k < 2; k++)
        layer.codes[n * 2 + k] = static_cast<uint8_t>((7 * n + 3 * k + n * k / 5 + k / 8) % 16);
      layer.zeros[n] = static_cast<uint8_t>(n + 1);
    }
    NM_OK_CALL(nm_awq_pack(engine, &layer.a));
    NM_CHECK_MSG(layer.qweight[0] == 0x1357ace0, "word 0 is %08x", layer.qweight[0]);
    NM_CHECK_MSG(layer.qweight[1] == 0x578aef13, "word 1 is %08x", layer.qweight[1]);
    NM_CHECK_MSG(layer.qzeros[0] == 0x86427531, "zeros are %08x", layer.qzeros[0]);
  });
}

NM_TEST(awq_agrees_with_a_nibble_by_nibble_decoder_and_comes_back) {
  nmtest::on_every_tier([&](const TestEngine& engine) {
    for (const int64_t n : {8, 40, 128, 136, 264})
      for (const int64_t k : {1, 5, 63, 64, 65, 200}) {
        const Edge edge = k % 2 == 0 ? Edge::kEnd : Edge::kStart;
        Layer layer(n, k, std::min<int64_t>(k, 32), edge);
        fill(layer, static_cast<uint64_t>(n * 1000 + k));
        NM_OK_CALL(nm_awq_pack(engine, &layer.a));
        bool same = true;
        for (int64_t i = 0; i < n * k; i++)
          same &= element_at(layer.qweight.data() + i % k * n / 8, i / k) == layer.codes[i];
        for (int64_t i = 0; i < layer.groups * n; i++) same &= element_at(layer.qzeros.data(), i) == layer.zeros[i];
        NM_CHECK_MSG(same, "N %lld K %lld: the words are wrong", static_cast<long long>(n), static_cast<long long>(k));
        Layer back(n, k, std::min<int64_t>(k, 32), edge);
        std::copy(layer.qweight.begin(), layer.qweight.end(), back.qweight.begin());
        std::copy(layer.qzeros.begin(), layer.qzeros.end(), back.qzeros.begin());
        NM_OK_CALL(nm_awq_unpack(engine, &back.a));
        NM_CHECK(std::equal(layer.codes.begin(), layer.codes.end(), back.codes.begin()));
        NM_CHECK(std::equal(layer.zeros.begin(), layer.zeros.end(), back.zeros.begin()));
      }
  });
}

NM_TEST(awq_packing_refuses_what_a_nibble_cannot_hold) {
  const TestEngine engine(NM_TIER_REFERENCE, 2);
  Layer layer(40, 64, 32);
  fill(layer, 1);
  layer.zeros[5] = 16;
  NM_REFUSED(nm_awq_pack(engine, &layer.a), NM_ERR_ARGUMENT, "zeros[0,5]: got 16, expected 0..15");
  layer.zeros[5] = 0;
  NM_OK_CALL(nm_awq_pack(engine, &layer.a));
  layer.codes[39 * 64 + 63] = 77;
  NM_REFUSED(nm_awq_pack(engine, &layer.a), NM_ERR_ARGUMENT, "codes[39,63]: got 77, expected 0..15");
}

NM_TEST(awq_refuses_bad_arguments_by_name) {
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  Layer good(40, 64, 32);
  const auto refused = [&](int32_t status, const char* fragment, auto&& change) {
    nm_codes c = good.c;
    nm_awq_args a = good.a;
    a.codes = &c;
    change(a, c);
    NM_REFUSED(nm_awq_pack(engine, &a), status, fragment);
    NM_REFUSED(nm_awq_unpack(engine, &a), status, fragment);
  };
  const int32_t bad = NM_ERR_ARGUMENT;
  refused(NM_ERR_STRUCT_SIZE, "args.struct_size", [](nm_awq_args& a, nm_codes&) { a.struct_size = 0; });
  refused(NM_ERR_STRUCT_SIZE, "codes.struct_size", [](nm_awq_args&, nm_codes& c) { c.struct_size = 0; });
  refused(bad, "codes: got NULL", [](nm_awq_args& a, nm_codes&) { a.codes = nullptr; });
  refused(bad, "bits: got 8, expected 4..4", [](nm_awq_args&, nm_codes& c) { c.bits = 8; });
  refused(bad, "n: got 36, expected a multiple of 8", [](nm_awq_args&, nm_codes& c) { c.n = 36; });
  refused(bad, "n: got 0", [](nm_awq_args&, nm_codes& c) { c.n = 0; });
  refused(bad, "overflow", [](nm_awq_args&, nm_codes& c) { c.n = int64_t{1} << 45; });
  refused(bad, "k: got 0", [](nm_awq_args&, nm_codes& c) { c.k = 0; });
  refused(bad, "group_size: got 65", [](nm_awq_args&, nm_codes& c) { c.group_size = 65; });
  refused(bad, "codes: got NULL", [](nm_awq_args&, nm_codes& c) { c.codes = nullptr; });
  refused(bad, "zeros: got NULL", [](nm_awq_args&, nm_codes& c) { c.zeros = nullptr; });
  refused(bad, "qweight: got NULL", [](nm_awq_args& a, nm_codes&) { a.qweight = nullptr; });
  refused(bad, "qzeros: misaligned", [](nm_awq_args& a, nm_codes&) {
    a.qzeros = reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(a.qzeros) + 2);
  });
  refused(bad, "qweight: overlaps codes",
          [](nm_awq_args& a, nm_codes& c) { c.codes = reinterpret_cast<uint8_t*>(a.qweight) + 1; });
}

NM_TEST(awq_many_threads_unpack_large_layers_alike) {
  Layer layer(1000, 700, 100);
  fill(layer, 9);
  NM_OK_CALL(nm_awq_pack(TestEngine(NM_TIER_REFERENCE, 1), &layer.a));
  const std::vector<uint8_t> codes(layer.codes.begin(), layer.codes.end());
  std::fill(layer.codes.begin(), layer.codes.end(), uint8_t{0});
  NM_OK_CALL(nm_awq_unpack(TestEngine(NM_TIER_REFERENCE, 3), &layer.a));
  NM_CHECK(std::equal(codes.begin(), codes.end(), layer.codes.begin()));
}
