// Columns are taken a tile at a time, so that words and codes both lie in cache; how a tile's words hold its codes is a
// layout of tiles.h.
#include "pack/gptq.h"

#include <algorithm>
#include <atomic>

#include "core/engine.h"
#include "pack/codes.h"
#include "pack/tiles.h"

namespace nm {
namespace {

constexpr int64_t kChunkCodes = 1 << 15;

/** Streams n0..n1 - 1: word r of stream n is words[r * N + n], its codes are codes[n * K...]. */
template <class L>
void unpack_columns(const nm_codes& c, const void* qweight, int64_t n0, int64_t n1) {
  const auto* words = static_cast<const typename L::Word*>(qweight);
  const int64_t all_rows = L::words(c.k);
  for (int64_t n = n0; n < n1; n += kTile)
    for (int64_t k = 0; k < c.k; k += kTile) {
      const int64_t row = k / kTile * L::kTileWords, rows = std::min(L::kTileWords, all_rows - row);
      const int64_t count = std::min(kTile, c.k - k);
      for (int64_t i = n; i < std::min(n + kTile, n1); i++) {
        typename L::Word tile[L::kTileWords] = {};
        for (int64_t r = 0; r < rows; r++) tile[r] = words[(row + r) * c.n + i];
        uint8_t codes[kTile];
        L::unpack(tile, codes);
        std::memcpy(c.codes + i * c.k + k, codes, static_cast<size_t>(count));
      }
    }
}

/** False when a code is too large. */
template <class L>
bool pack_columns(const nm_codes& c, void* qweight, int64_t n0, int64_t n1) {
  auto* words = static_cast<typename L::Word*>(qweight);
  const int64_t all_rows = L::words(c.k);
  bool bad = false;
  for (int64_t n = n0; n < n1; n += kTile)
    for (int64_t k = 0; k < c.k; k += kTile) {
      const int64_t row = k / kTile * L::kTileWords, rows = std::min(L::kTileWords, all_rows - row);
      const int64_t count = std::min(kTile, c.k - k);
      for (int64_t i = n; i < std::min(n + kTile, n1); i++) {
        uint8_t codes[kTile] = {};
        std::memcpy(codes, c.codes + i * c.k + k, static_cast<size_t>(count));
        bad |= too_large<L::kBits>(codes);
        typename L::Word tile[L::kTileWords];
        L::pack(codes, tile);
        for (int64_t r = 0; r < rows; r++) words[(row + r) * c.n + i] = tile[r];
      }
    }
  return !bad;
}

/** One row of zero points, stored `offset` below their value, modulo 2^bits. */
template <class L>
void unpack_zeros(const nm_codes& c, const void* qzeros, int64_t g, uint8_t offset) {
  const int64_t width = L::words(c.n);
  const auto* words = static_cast<const typename L::Word*>(qzeros) + g * width;
  for (int64_t n = 0; n < c.n; n += kTile) {
    const int64_t at = n / kTile * L::kTileWords;
    typename L::Word tile[L::kTileWords] = {};
    std::copy_n(words + at, std::min(L::kTileWords, width - at), tile);
    uint8_t zeros[kTile];
    L::unpack(tile, zeros);
    for (int64_t i = n; i < std::min(n + kTile, c.n); i++)
      c.zeros[g * c.n + i] = static_cast<uint8_t>((zeros[i - n] + offset) & low_bits(L::kBits));
  }
}

template <class L>
void pack_zeros(const nm_codes& c, void* qzeros, int64_t g, uint8_t offset) {
  const int64_t width = L::words(c.n);
  auto* words = static_cast<typename L::Word*>(qzeros) + g * width;
  for (int64_t n = 0; n < c.n; n += kTile) {
    uint8_t zeros[kTile] = {};
    for (int64_t i = n; i < std::min(n + kTile, c.n); i++)
      zeros[i - n] = static_cast<uint8_t>((c.zeros[g * c.n + i] - offset) & low_bits(L::kBits));
    typename L::Word tile[L::kTileWords];
    L::pack(zeros, tile);
    const int64_t at = n / kTile * L::kTileWords;
    std::copy_n(tile, std::min(L::kTileWords, width - at), words + at);
  }
}

struct Codec {
  int64_t (*words)(int64_t);
  void (*unpack_columns)(const nm_codes&, const void*, int64_t, int64_t);
  bool (*pack_columns)(const nm_codes&, void*, int64_t, int64_t);
  void (*unpack_zeros)(const nm_codes&, const void*, int64_t, uint8_t);
  void (*pack_zeros)(const nm_codes&, void*, int64_t, uint8_t);
};

template <class L>
constexpr Codec codec() {
  return {L::words, unpack_columns<L>, pack_columns<L>, unpack_zeros<L>, pack_zeros<L>};
}

template <class W>
constexpr Codec kStreams[] = {codec<Stream<2, W>>(), codec<Stream<3, W>>(), codec<Stream<4, W>>(),
                              codec<Stream<5, W>>(), codec<Stream<6, W>>(), codec<Stream<7, W>>(),
                              codec<Stream<8, W>>()};
constexpr Codec kPlanes[] = {codec<Planes<2>>(), codec<Planes<3>>(), codec<Planes<4>>(), codec<Planes<5>>(),
                             codec<Planes<6>>(), codec<Planes<7>>(), codec<Planes<8>>()};

const Codec& codec_of(const nm_gptq_args& a) {
  const int32_t at = a.codes->bits - 2;
  if (a.planar != 0) return kPlanes[at];
  return a.word_bits == 32   ? kStreams<uint32_t>[at]
         : a.word_bits == 16 ? kStreams<uint16_t>[at]
                             : kStreams<uint8_t>[at];
}

const nm_codes& check(const nm_gptq_args& a) {
  const nm_codes& c = check_codes(a.codes, 2);
  check_range("zero_offset", a.zero_offset, 0, 1);
  check_range("planar", a.planar, 0, 1);
  if (a.word_bits != 32 && (a.planar != 0 || (a.word_bits != 16 && a.word_bits != 8)))
    fail(NM_ERR_ARGUMENT, "word_bits: got %d, expected %s", a.word_bits, a.planar != 0 ? "32" : "32, 16 or 8");
  const Codec& codec = codec_of(a);
  const int64_t word_bytes = a.word_bits / 8;
  check_words(c, "qweight", a.qweight, codec.words(c.k) * c.n, word_bytes);
  check_words(c, "qzeros", a.qzeros, codec.words(c.n) * groups_of(c), word_bytes);
  check_array("cancel", a.cancel, 0);
  return c;
}

/** fn(n0, n1) over tiles of columns. */
template <class F>
void over_columns(Engine& engine, const nm_codes& c, const int32_t* cancel, F&& fn) {
  engine.parallel_for((c.n + kTile - 1) / kTile, kChunkCodes / (c.k * kTile) + 1, cancel,
                      [&](int64_t begin, int64_t end, int) { fn(begin * kTile, std::min(end * kTile, c.n)); });
}

}  // namespace

void gptq_unpack(Engine& engine, const nm_gptq_args& a) {
  const nm_codes& c = check(a);
  const Codec& codec = codec_of(a);
  over_columns(engine, c, a.cancel, [&](int64_t n0, int64_t n1) { codec.unpack_columns(c, a.qweight, n0, n1); });
  for (int64_t g = 0; g < groups_of(c); g++) codec.unpack_zeros(c, a.qzeros, g, static_cast<uint8_t>(a.zero_offset));
}

void gptq_pack(Engine& engine, const nm_gptq_args& a) {
  const nm_codes& c = check(a);
  const Codec& codec = codec_of(a);
  check_zeros(c, a.zero_offset);
  std::atomic<bool> bad{false};
  over_columns(engine, c, a.cancel, [&](int64_t n0, int64_t n1) {
    if (!codec.pack_columns(c, a.qweight, n0, n1)) bad = true;
  });
  if (bad) refuse_codes(c);
  for (int64_t g = 0; g < groups_of(c); g++) codec.pack_zeros(c, a.qzeros, g, static_cast<uint8_t>(a.zero_offset));
}

}  // namespace nm
