// Every layout is a cut of [N,K] into blocks that words and codes share, and a table (or a stream) that says where in a
// block a code lies.
#include "pack/words.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "core/check.h"
#include "core/engine.h"
#include "pack/tiles.h"

namespace nm {
namespace {

constexpr int64_t kChunkCodes = 1 << 15;

// ---------- rows: each row is a bit stream of its own

template <int kBits>
void unpack_row(const uint32_t* words, uint8_t* codes, int64_t k) {
  using L = Stream<kBits, uint32_t>;
  for (int64_t at = 0; at < k; at += kTile, words += L::kTileWords) {
    const int64_t count = std::min(kTile, k - at);
    uint32_t tile[L::kTileWords] = {};
    std::copy_n(words, std::min(L::kTileWords, L::words(count)), tile);
    uint8_t bytes[kTile];
    L::unpack(tile, bytes);
    std::memcpy(codes + at, bytes, static_cast<size_t>(count));
  }
}

template <int kBits>
bool pack_row(const uint8_t* codes, uint32_t* words, int64_t k) {
  using L = Stream<kBits, uint32_t>;
  bool bad = false;
  for (int64_t at = 0; at < k; at += kTile, words += L::kTileWords) {
    const int64_t count = std::min(kTile, k - at);
    uint8_t bytes[kTile] = {};
    std::memcpy(bytes, codes + at, static_cast<size_t>(count));
    bad |= too_large<kBits>(bytes);
    uint32_t tile[L::kTileWords];
    L::pack(bytes, tile);
    std::copy_n(tile, std::min(L::kTileWords, L::words(count)), words);
  }
  return !bad;
}

using UnpackRow = void (*)(const uint32_t*, uint8_t*, int64_t);
using PackRow = bool (*)(const uint8_t*, uint32_t*, int64_t);
constexpr UnpackRow kUnpackRow[] = {unpack_row<2>, unpack_row<3>, unpack_row<4>, unpack_row<5>,
                                    unpack_row<6>, unpack_row<7>, unpack_row<8>};
constexpr PackRow kPackRow[] = {pack_row<2>, pack_row<3>, pack_row<4>, pack_row<5>,
                                pack_row<6>, pack_row<7>, pack_row<8>};

int64_t row_words(const nm_words_args& a) { return (a.k * a.bits + 31) / 32; }

// ---------- blocks of nibbles: a table says where in a block of codes nibble i of word w comes from

struct Place {
  uint8_t n, k;
};

/** 16 columns by 64 rows in 128 words of 8 nibbles. */
constexpr int64_t kTileK = 16, kTileN = 64, kTileWords = 128;
using TileMap = std::array<std::array<Place, 8>, kTileWords>;

/** Word 4 * th + wp, nibble i, element p = order[i]: row 16 wp + th/4 + 8 (p/4), column stride (th mod 4) + step[p mod 4]. */
constexpr TileMap tile_map(const int (&order)[8], int stride, const int (&step)[4]) {
  TileMap map = {};
  for (int th = 0; th < 32; th++)
    for (int wp = 0; wp < 4; wp++)
      for (int i = 0; i < 8; i++) {
        const int p = order[i];
        map[static_cast<size_t>(4 * th + wp)][static_cast<size_t>(i)] = {
            static_cast<uint8_t>(16 * wp + th / 4 + 8 * (p / 4)),
            static_cast<uint8_t>(stride * (th % 4) + step[p % 4])};
      }
  return map;
}

constexpr int kEvenFirst[8] = {0, 2, 4, 6, 1, 3, 5, 7}, kHighFirst[8] = {4, 0, 5, 1, 6, 2, 7, 3};
constexpr TileMap kMarlin = tile_map(kEvenFirst, 2, {0, 1, 8, 9});
constexpr TileMap kQqqGroup = tile_map(kEvenFirst, 4, {0, 1, 2, 3});
constexpr TileMap kQqqChannel = tile_map(kHighFirst, 4, {0, 1, 2, 3});

/** `flip` 8 makes two's complement of codes that count from 0, and back. */
struct TileKind {
  const TileMap& map;
  uint8_t flip;
};

void unpack_tile(const nm_words_args& a, const TileKind& kind, int64_t kt, int64_t nt) {
  const auto* words = static_cast<const uint32_t*>(a.words) + kt * 2 * a.n + nt * kTileWords;
  uint8_t* codes = a.codes + nt * kTileN * a.k + kt * kTileK;
  for (size_t w = 0; w < kTileWords; w++)
    for (size_t i = 0; i < 8; i++) {
      const Place at = kind.map[w][i];
      codes[at.n * a.k + at.k] = static_cast<uint8_t>((words[w] >> 4 * i & 15) ^ kind.flip);
    }
}

bool pack_tile(const nm_words_args& a, const TileKind& kind, int64_t kt, int64_t nt) {
  auto* words = static_cast<uint32_t*>(a.words) + kt * 2 * a.n + nt * kTileWords;
  const uint8_t* codes = a.codes + nt * kTileN * a.k + kt * kTileK;
  uint8_t all = 0;
  for (size_t w = 0; w < kTileWords; w++) {
    uint32_t word = 0;
    for (size_t i = 0; i < 8; i++) {
      const Place at = kind.map[w][i];
      const uint8_t code = codes[at.n * a.k + at.k];
      all |= code;
      word |= static_cast<uint32_t>((code ^ kind.flip) & 15) << 4 * i;
    }
    words[w] = word;
  }
  return all < 16;
}

// ---------- gemv_fast: 4 rows by 64 columns in 64 words of 4 nibbles

constexpr int64_t kFastN = 4, kFastK = 64;

/** Column of nibble i of word w of a row. */
int64_t fast_column(int64_t w, int64_t i) { return w / 8 * 32 + w % 8 + 8 * i; }

void unpack_fast(const nm_words_args& a, int64_t row, int64_t s) {
  const auto* words = static_cast<const uint16_t*>(a.words) + row * a.k + s * kFastK;
  for (int64_t j = 0; j < kFastN; j++) {
    uint8_t* codes = a.codes + (row * kFastN + j) * a.k + s * kFastK;
    for (int64_t w = 0; w < 16; w++)
      for (int64_t i = 0; i < 4; i++) codes[fast_column(w, i)] = words[16 * j + w] >> 4 * i & 15;
  }
}

bool pack_fast(const nm_words_args& a, int64_t row, int64_t s) {
  auto* words = static_cast<uint16_t*>(a.words) + row * a.k + s * kFastK;
  uint8_t all = 0;
  for (int64_t j = 0; j < kFastN; j++) {
    const uint8_t* codes = a.codes + (row * kFastN + j) * a.k + s * kFastK;
    for (int64_t w = 0; w < 16; w++) {
      uint32_t word = 0;
      for (int64_t i = 0; i < 4; i++) {
        const uint8_t code = codes[fast_column(w, i)];
        all |= code;
        word |= (code & 15u) << 4 * i;
      }
      words[16 * j + w] = static_cast<uint16_t>(word);
    }
  }
  return all < 16;
}

// ---------- arguments

void check_multiple(const char* name, int64_t value, int64_t of) {
  if (value % of != 0)
    fail(NM_ERR_ARGUMENT, "%s: got %lld, expected a multiple of %lld", name, static_cast<long long>(value),
         static_cast<long long>(of));
}

void check(const nm_words_args& a) {
  check_range("layout", a.layout, NM_WORDS_ROWS, NM_WORDS_QQQ_GROUP);
  const bool rows = a.layout == NM_WORDS_ROWS, fast = a.layout == NM_WORDS_GEMV_FAST;
  check_range("bits", a.bits, rows ? 2 : 4, rows ? 8 : 4);
  check_range("n", a.n, 1, kMaxBytes);
  check_range("k", a.k, 1, INT32_MAX);
  if (a.n > kMaxBytes / 8 / a.k)
    fail(NM_ERR_ARGUMENT, "n: %lld x %lld elements overflow", static_cast<long long>(a.n), static_cast<long long>(a.k));
  if (!rows) {
    check_multiple("n", a.n, fast ? kFastN : kTileN);
    check_multiple("k", a.k, fast ? kFastK : kTileK);
  }
  const int64_t bytes = rows ? a.n * row_words(a) * 4 : a.n * a.k / 2;
  check_array("codes", a.codes, a.n * a.k);
  if (fast)
    check_array("words", static_cast<const uint16_t*>(a.words), bytes / 2);
  else
    check_array("words", static_cast<const uint32_t*>(a.words), bytes / 4);
  check_no_overlap("words", a.words, bytes, "codes", a.codes, a.n * a.k);
  check_array("cancel", a.cancel, 0);
}

const TileKind& tile_kind(int32_t layout) {
  static constexpr TileKind kKinds[] = {{kMarlin, 0}, {kQqqChannel, 8}, {kQqqGroup, 0}};
  return kKinds[layout - NM_WORDS_MARLIN];
}

/** fn(down, across) over the blocks of the layout, in parallel. */
template <class F>
void over_blocks(Engine& engine, const nm_words_args& a, int64_t height, int64_t width, F&& fn) {
  const int64_t down = a.n / height, across = a.k / width;
  engine.parallel_for(down * across, kChunkCodes / (height * width) + 1, a.cancel,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t i = begin; i < end; i++) fn(i / across, i % across);
                      });
}

[[noreturn]] void refuse(const nm_words_args& a) {
  for (int64_t i = 0; i < a.n * a.k; i++)
    if (a.codes[i] >> a.bits != 0)
      fail(NM_ERR_ARGUMENT, "codes[%lld,%lld]: got %d, expected 0..%d", static_cast<long long>(i / a.k),
           static_cast<long long>(i % a.k), a.codes[i], (1 << a.bits) - 1);
  fail(NM_ERR_ARGUMENT, "codes: changed during the call");
}

}  // namespace

void words_unpack(Engine& engine, const nm_words_args& a) {
  check(a);
  switch (a.layout) {
    case NM_WORDS_ROWS:
      over_blocks(engine, a, 1, a.k, [&](int64_t n, int64_t) {
        kUnpackRow[a.bits - 2](static_cast<const uint32_t*>(a.words) + n * row_words(a), a.codes + n * a.k, a.k);
      });
      break;
    case NM_WORDS_GEMV_FAST:
      over_blocks(engine, a, kFastN, kFastK, [&](int64_t row, int64_t s) { unpack_fast(a, row, s); });
      break;
    default:
      over_blocks(engine, a, kTileN, kTileK,
                  [&](int64_t nt, int64_t kt) { unpack_tile(a, tile_kind(a.layout), kt, nt); });
  }
}

void words_pack(Engine& engine, const nm_words_args& a) {
  check(a);
  std::atomic<bool> bad{false};
  const auto note = [&](bool good) {
    if (!good) bad = true;
  };
  switch (a.layout) {
    case NM_WORDS_ROWS:
      over_blocks(engine, a, 1, a.k, [&](int64_t n, int64_t) {
        note(kPackRow[a.bits - 2](a.codes + n * a.k, static_cast<uint32_t*>(a.words) + n * row_words(a), a.k));
      });
      break;
    case NM_WORDS_GEMV_FAST:
      over_blocks(engine, a, kFastN, kFastK, [&](int64_t row, int64_t s) { note(pack_fast(a, row, s)); });
      break;
    default:
      over_blocks(engine, a, kTileN, kTileK,
                  [&](int64_t nt, int64_t kt) { note(pack_tile(a, tile_kind(a.layout), kt, nt)); });
  }
  if (bad) refuse(a);
}

}  // namespace nm
