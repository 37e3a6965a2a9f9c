// How 32 codes lie in words, and the moves between words and one code a byte. Eight codes of b bits are b bytes of a
// stream; three steps of masks and shifts spread them over eight bytes, or gather them again, for every b alike. A
// planar block is one such stream for each of its bit planes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace nm {

static_assert(std::endian::native == std::endian::little, "streams are copied as bytes");

constexpr int64_t kTile = 32;  // codes, a whole number of words whatever their width

constexpr uint64_t low_bits(int n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

/** Fields of `width` bits at a distance. */
constexpr uint64_t every(int distance, int width) {
  uint64_t mask = 0;
  for (int at = 0; at < 64; at += distance) mask |= low_bits(width) << at;
  return mask;
}

/** 8 * kBits low bits -> one code a byte. */
template <int kBits>
uint64_t spread(uint64_t x) {
  if constexpr (kBits == 8) return x;
  x = (x & low_bits(4 * kBits)) | (x >> (4 * kBits) & low_bits(4 * kBits)) << 32;
  x = (x & every(32, 2 * kBits)) | (x >> (2 * kBits) & every(32, 2 * kBits)) << 16;
  return (x & every(16, kBits)) | (x >> kBits & every(16, kBits)) << 8;
}

/** The inverse; bytes hold codes of kBits. */
template <int kBits>
uint64_t gather(uint64_t x) {
  if constexpr (kBits == 8) return x;
  x = (x & every(16, kBits)) | (x >> 8 & every(16, kBits)) << kBits;
  x = (x & every(32, 2 * kBits)) | (x >> 16 & every(32, 2 * kBits)) << (2 * kBits);
  return (x & low_bits(4 * kBits)) | (x >> 32 & low_bits(4 * kBits)) << (4 * kBits);
}

/** codes[0..31] |= the 32 fields of kBits in stream[4 * kBits bytes], each shifted left. */
template <int kBits>
void add_tile(const void* stream, uint8_t* codes, int shift) {
  uint8_t bytes[4 * kBits + 8] = {};
  std::memcpy(bytes, stream, 4 * kBits);
  for (int i = 0; i < 4; i++) {
    uint64_t x, y;
    std::memcpy(&x, bytes + i * kBits, sizeof x);
    std::memcpy(&y, codes + 8 * i, sizeof y);
    y |= spread<kBits>(x & low_bits(8 * kBits)) << shift;
    std::memcpy(codes + 8 * i, &y, sizeof y);
  }
}

/** The inverse: bits shift..shift + kBits - 1 of each code. */
template <int kBits>
void take_tile(const uint8_t* codes, void* stream, int shift) {
  uint8_t bytes[4 * kBits + 8] = {};
  for (int i = 0; i < 4; i++) {
    uint64_t x;
    std::memcpy(&x, codes + 8 * i, sizeof x);
    x = gather<kBits>(x >> shift & every(8, kBits));
    std::memcpy(bytes + i * kBits, &x, sizeof x);
  }
  std::memcpy(stream, bytes, 4 * kBits);
}

/** One stream of codes, cut into words of any width: the ordinary layout. */
template <int kCodeBits, class W>
struct Stream {
  using Word = W;
  static constexpr int kBits = kCodeBits;
  static constexpr int64_t kWordBits = 8 * sizeof(Word);
  static constexpr int64_t kTileWords = kTile * kBits / kWordBits;

  /** Words of a stream of `count` codes; the last may be part empty. */
  static constexpr int64_t words(int64_t count) { return (count * kBits + kWordBits - 1) / kWordBits; }

  static void unpack(const Word* words, uint8_t* codes) {
    std::memset(codes, 0, kTile);
    add_tile<kBits>(words, codes, 0);
  }
  static void pack(const uint8_t* codes, Word* words) { take_tile<kBits>(codes, words, 0); }
};

/**
 * Each block of 32 codes is split into bit planes, the low one first, and each plane is a stream of its own:
 * 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1 bits. A plane of w bits fills w words exactly.
 */
template <int kCodeBits>
struct Planes {
  using Word = uint32_t;
  static constexpr int kBits = kCodeBits;
  static constexpr int64_t kTileWords = kBits;
  static constexpr int kFirst = kBits == 8 ? 8 : kBits >= 4 ? 4 : 2;

  static constexpr int64_t words(int64_t count) { return (count + kTile - 1) / kTile * kBits; }

  static void unpack(const Word* words, uint8_t* codes) {
    std::memset(codes, 0, kTile);
    add_tile<kFirst>(words, codes, 0);
    if constexpr (kBits - kFirst >= 2) add_tile<2>(words + kFirst, codes, kFirst);
    if constexpr (kBits % 2 == 1) add_tile<1>(words + kBits - 1, codes, kBits - 1);
  }
  static void pack(const uint8_t* codes, Word* words) {
    take_tile<kFirst>(codes, words, 0);
    if constexpr (kBits - kFirst >= 2) take_tile<2>(codes, words + kFirst, kFirst);
    if constexpr (kBits % 2 == 1) take_tile<1>(codes, words + kBits - 1, kBits - 1);
  }
};

/** Whether one of 32 codes has more than kBits bits. */
template <int kBits>
bool too_large(const uint8_t* codes) {
  uint64_t high = 0;
  for (int i = 0; i < 4; i++) {
    uint64_t x;
    std::memcpy(&x, codes + 8 * i, sizeof x);
    high |= x & ~every(8, kBits);
  }
  return high != 0;
}

}  // namespace nm
