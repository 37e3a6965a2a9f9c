// Words run along N, codes along K: tiles of a cache line of words by 64 columns are turned in a small buffer. The even
// elements of a word are the nibbles of its low half, the odd ones those of its high half.
#include "pack/awq.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/engine.h"
#include "pack/codes.h"
#include "pack/tiles.h"

namespace nm {
namespace {

constexpr int64_t kLane = 8;                                 // codes of a word
constexpr int64_t kTileWords = 16, kTileN = 8 * kTileWords;  // one cache line of words
constexpr int64_t kTileK = 64;                               // one cache line of codes
constexpr int64_t kChunkTiles = 4;

/** Four nibbles -> the even bytes. */
uint64_t spread_half(uint32_t x) {
  const uint64_t pairs = (x & 0xffu) | static_cast<uint64_t>(x & 0xff00u) << 24;
  return (pairs & 0x0000000f0000000f) | (pairs & 0x000000f0000000f0) << 12;
}

uint32_t gather_half(uint64_t x) {
  const uint64_t pairs = (x & 0x0000000f0000000f) | (x >> 12 & 0x000000f0000000f0);
  return static_cast<uint32_t>((pairs & 0xff) | (pairs >> 24 & 0xff00));
}

void unpack_word(uint32_t word, uint8_t* codes) {
  const uint64_t x = spread_half(word & 0xffff) | spread_half(word >> 16) << 8;
  std::memcpy(codes, &x, sizeof x);
}

uint32_t pack_word(const uint8_t* codes) {
  uint64_t x;
  std::memcpy(&x, codes, sizeof x);
  return gather_half(x) | gather_half(x >> 8) << 16;
}

struct Tile {
  int64_t n, k, width, height;  // columns n.. and rows k.. of the transposed codes, `width` a multiple of 8
};

/** fn(tile) over all of them, in parallel. */
template <class F>
void over_tiles(Engine& engine, const nm_codes& c, const int32_t* cancel, F&& fn) {
  const int64_t across = (c.n + kTileN - 1) / kTileN, down = (c.k + kTileK - 1) / kTileK;
  engine.parallel_for(across * down, kChunkTiles, cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t n = i % across * kTileN, k = i / across * kTileK;
      fn(Tile{n, k, std::min(kTileN, c.n - n), std::min(kTileK, c.k - k)});
    }
  });
}

void unpack_tile(const nm_codes& c, const uint32_t* qweight, const Tile& t) {
  uint8_t turned[kTileK][kTileN];
  for (int64_t k = 0; k < t.height; k++) {
    const uint32_t* words = qweight + ((t.k + k) * c.n + t.n) / kLane;
    for (int64_t w = 0; w < t.width / kLane; w++) unpack_word(words[w], turned[k] + w * kLane);
  }
  for (int64_t n = 0; n < t.width; n++) {
    uint8_t* codes = c.codes + (t.n + n) * c.k + t.k;
    for (int64_t k = 0; k < t.height; k++) codes[k] = turned[k][n];
  }
}

/** False when a code is too large. */
bool pack_tile(const nm_codes& c, uint32_t* qweight, const Tile& t) {
  uint8_t turned[kTileK][kTileN];
  uint8_t all = 0;
  for (int64_t n = 0; n < t.width; n++) {
    const uint8_t* codes = c.codes + (t.n + n) * c.k + t.k;
    for (int64_t k = 0; k < t.height; k++) {
      turned[k][n] = codes[k];
      all |= codes[k];
    }
  }
  for (int64_t k = 0; k < t.height; k++) {
    uint32_t* words = qweight + ((t.k + k) * c.n + t.n) / kLane;
    for (int64_t w = 0; w < t.width / kLane; w++) words[w] = pack_word(turned[k] + w * kLane);
  }
  return all < 16;
}

const nm_codes& check(const nm_awq_args& a) {
  const nm_codes& c = check_codes(a.codes, 4, 4);
  if (c.n % kLane != 0) fail(NM_ERR_ARGUMENT, "n: got %lld, expected a multiple of 8", static_cast<long long>(c.n));
  check_words(c, "qweight", a.qweight, c.k * c.n / kLane, sizeof(uint32_t));
  check_words(c, "qzeros", a.qzeros, groups_of(c) * c.n / kLane, sizeof(uint32_t));
  check_array("cancel", a.cancel, 0);
  return c;
}

}  // namespace

void awq_unpack(Engine& engine, const nm_awq_args& a) {
  const nm_codes& c = check(a);
  over_tiles(engine, c, a.cancel, [&](const Tile& t) { unpack_tile(c, a.qweight, t); });
  for (int64_t i = 0; i < groups_of(c) * c.n / kLane; i++) unpack_word(a.qzeros[i], c.zeros + i * kLane);
}

void awq_pack(Engine& engine, const nm_awq_args& a) {
  const nm_codes& c = check(a);
  check_zeros(c, 0);
  std::atomic<bool> bad{false};
  over_tiles(engine, c, a.cancel, [&](const Tile& t) {
    if (!pack_tile(c, a.qweight, t)) bad = true;
  });
  if (bad) refuse_codes(c);
  for (int64_t i = 0; i < groups_of(c) * c.n / kLane; i++) a.qzeros[i] = pack_word(c.zeros + i * kLane);
}

}  // namespace nm
