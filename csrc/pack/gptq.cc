// Eight codes of b bits are b bytes of the stream; three steps of masks and shifts spread them over eight bytes, or
// gather them again, for every b alike. Columns are taken a tile at a time, so that words and codes both lie in cache.
#include "pack/gptq.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "core/engine.h"

namespace nm {
namespace {

static_assert(std::endian::native == std::endian::little, "streams are copied as bytes");

constexpr int64_t kTile = 32;  // codes, a whole number of words (`bits` of them), and columns taken together
constexpr int64_t kChunkCodes = 1 << 15;

constexpr uint64_t low_bits(int n) { return n >= 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1; }

/** Each field of 2 * half bits at a distance `from` becomes two of half bits at a distance from / 2. */
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

/** kBits words -> 32 codes. */
template <int kBits>
void unpack_tile(const uint32_t* words, uint8_t* codes) {
  uint8_t bytes[4 * kBits + 8] = {};
  std::memcpy(bytes, words, 4 * kBits);
  for (int i = 0; i < 4; i++) {
    uint64_t x;
    std::memcpy(&x, bytes + i * kBits, sizeof x);
    x = spread<kBits>(x & low_bits(8 * kBits));
    std::memcpy(codes + 8 * i, &x, sizeof x);
  }
}

/** 32 codes -> kBits words; true when one of the codes has more bits. */
template <int kBits>
bool pack_tile(const uint8_t* codes, uint32_t* words) {
  uint8_t bytes[4 * kBits + 8] = {};
  uint64_t high = 0;
  for (int i = 0; i < 4; i++) {
    uint64_t x;
    std::memcpy(&x, codes + 8 * i, sizeof x);
    high |= x & ~every(8, kBits);
    x = gather<kBits>(x);
    std::memcpy(bytes + i * kBits, &x, sizeof x);
  }
  std::memcpy(words, bytes, 4 * kBits);
  return high != 0;
}

/** Streams of `count` codes each, n0..n1 - 1: word r of stream n is words[r * N + n], its codes codes[n * count...]. */
template <int kBits>
void unpack_columns(const nm_codes& c, const uint32_t* qweight, int64_t n0, int64_t n1) {
  const int64_t words = (c.k * kBits + 31) / 32;
  for (int64_t n = n0; n < n1; n += kTile)
    for (int64_t k = 0; k < c.k; k += kTile) {
      const int64_t row = k / kTile * kBits, rows = std::min<int64_t>(kBits, words - row);
      const int64_t count = std::min(kTile, c.k - k);
      for (int64_t i = n; i < std::min(n + kTile, n1); i++) {
        uint32_t stream[kBits] = {};
        for (int64_t r = 0; r < rows; r++) stream[r] = qweight[(row + r) * c.n + i];
        uint8_t* to = c.codes + i * c.k + k;
        if (count == kTile) {
          unpack_tile<kBits>(stream, to);
        } else {
          uint8_t codes[kTile];
          unpack_tile<kBits>(stream, codes);
          std::memcpy(to, codes, static_cast<size_t>(count));
        }
      }
    }
}

/** False when a code is too large. */
template <int kBits>
bool pack_columns(const nm_codes& c, uint32_t* qweight, int64_t n0, int64_t n1) {
  const int64_t words = (c.k * kBits + 31) / 32;
  bool bad = false;
  for (int64_t n = n0; n < n1; n += kTile)
    for (int64_t k = 0; k < c.k; k += kTile) {
      const int64_t row = k / kTile * kBits, rows = std::min<int64_t>(kBits, words - row);
      const int64_t count = std::min(kTile, c.k - k);
      for (int64_t i = n; i < std::min(n + kTile, n1); i++) {
        uint8_t codes[kTile] = {};
        std::memcpy(codes, c.codes + i * c.k + k, static_cast<size_t>(count));
        uint32_t stream[kBits];
        bad |= pack_tile<kBits>(codes, stream);
        for (int64_t r = 0; r < rows; r++) qweight[(row + r) * c.n + i] = stream[r];
      }
    }
  return !bad;
}

/** One row of zero points, stored `offset` below their value, modulo 2^bits. */
template <int kBits>
void unpack_zeros(const nm_codes& c, const uint32_t* qzeros, int64_t g, uint8_t offset) {
  const int64_t words = (c.n * kBits + 31) / 32;
  for (int64_t n = 0; n < c.n; n += kTile) {
    const int64_t word = n / kTile * kBits;
    uint32_t stream[kBits] = {};
    std::copy_n(qzeros + g * words + word, std::min<int64_t>(kBits, words - word), stream);
    uint8_t zeros[kTile];
    unpack_tile<kBits>(stream, zeros);
    for (int64_t i = n; i < std::min(n + kTile, c.n); i++)
      c.zeros[g * c.n + i] = static_cast<uint8_t>((zeros[i - n] + offset) & low_bits(kBits));
  }
}

template <int kBits>
void pack_zeros(const nm_codes& c, uint32_t* qzeros, int64_t g, uint8_t offset) {
  const int64_t words = (c.n * kBits + 31) / 32;
  for (int64_t n = 0; n < c.n; n += kTile) {
    uint8_t zeros[kTile] = {};
    for (int64_t i = n; i < std::min(n + kTile, c.n); i++)
      zeros[i - n] = static_cast<uint8_t>((c.zeros[g * c.n + i] - offset) & low_bits(kBits));
    uint32_t stream[kBits];
    pack_tile<kBits>(zeros, stream);
    const int64_t word = n / kTile * kBits;
    std::copy_n(stream, std::min<int64_t>(kBits, words - word), qzeros + g * words + word);
  }
}

struct Codec {
  void (*unpack_columns)(const nm_codes&, const uint32_t*, int64_t, int64_t);
  bool (*pack_columns)(const nm_codes&, uint32_t*, int64_t, int64_t);
  void (*unpack_zeros)(const nm_codes&, const uint32_t*, int64_t, uint8_t);
  void (*pack_zeros)(const nm_codes&, uint32_t*, int64_t, uint8_t);
};

template <int kBits>
constexpr Codec codec() {
  return {unpack_columns<kBits>, pack_columns<kBits>, unpack_zeros<kBits>, pack_zeros<kBits>};
}

constexpr Codec kCodecs[] = {codec<2>(), codec<3>(), codec<4>(), codec<5>(), codec<6>(), codec<7>(), codec<8>()};

int64_t groups_of(const nm_codes& c) { return (c.k - 1) / c.group_size + 1; }

const nm_codes& check(const nm_gptq_args& a) {
  const nm_codes& c = check_struct("codes", a.codes);
  check_range("bits", c.bits, 2, 8);
  check_range("n", c.n, 1, kMaxBytes);
  check_range("k", c.k, 1, INT32_MAX);
  check_range("group_size", c.group_size, 1, c.k);
  check_range("zero_offset", a.zero_offset, 0, 1);
  if (c.n > kMaxBytes / 8 / c.k)
    fail(NM_ERR_ARGUMENT, "n: %lld x %lld elements overflow", static_cast<long long>(c.n), static_cast<long long>(c.k));
  const int64_t groups = groups_of(c);
  const int64_t weight_words = (c.k * c.bits + 31) / 32 * c.n, zero_words = (c.n * c.bits + 31) / 32 * groups;
  check_array("codes", c.codes, c.n * c.k);
  check_array("zeros", c.zeros, groups * c.n);
  check_array("qweight", a.qweight, weight_words);
  check_array("qzeros", a.qzeros, zero_words);
  check_array("cancel", a.cancel, 0);
  check_no_overlap("qweight", a.qweight, weight_words * 4, "codes", c.codes, c.n * c.k);
  check_no_overlap("qweight", a.qweight, weight_words * 4, "zeros", c.zeros, groups * c.n);
  check_no_overlap("qzeros", a.qzeros, zero_words * 4, "codes", c.codes, c.n * c.k);
  check_no_overlap("qzeros", a.qzeros, zero_words * 4, "zeros", c.zeros, groups * c.n);
  return c;
}

/** fn(n0, n1) over tiles of columns. */
template <class F>
void over_columns(Engine& engine, const nm_codes& c, const int32_t* cancel, F&& fn) {
  engine.parallel_for((c.n + kTile - 1) / kTile, kChunkCodes / (c.k * kTile) + 1, cancel,
                      [&](int64_t begin, int64_t end, int) { fn(begin * kTile, std::min(end * kTile, c.n)); });
}

void check_zeros(const nm_codes& c, int32_t least) {
  for (int64_t g = 0; g < groups_of(c); g++)
    for (int64_t n = 0; n < c.n; n++) {
      const int32_t zero = c.zeros[g * c.n + n];
      if (zero < least || zero >= 1 << c.bits)
        fail(NM_ERR_ARGUMENT, "zeros[%lld,%lld]: got %d, expected %d..%d%s", static_cast<long long>(g),
             static_cast<long long>(n), zero, least, (1 << c.bits) - 1,
             zero == 0 ? ": the v1 layout cannot hold a zero point of 0, write v2" : "");
    }
}

[[noreturn]] void refuse_codes(const nm_codes& c) {
  for (int64_t i = 0; i < c.n * c.k; i++)
    if (c.codes[i] >> c.bits != 0)
      fail(NM_ERR_ARGUMENT, "codes[%lld,%lld]: got %d, expected 0..%d", static_cast<long long>(i / c.k),
           static_cast<long long>(i % c.k), c.codes[i], (1 << c.bits) - 1);
  fail(NM_ERR_ARGUMENT, "codes: changed during the call");
}

}  // namespace

void gptq_unpack(Engine& engine, const nm_gptq_args& a) {
  const nm_codes& c = check(a);
  const Codec& codec = kCodecs[c.bits - 2];
  over_columns(engine, c, a.cancel, [&](int64_t n0, int64_t n1) { codec.unpack_columns(c, a.qweight, n0, n1); });
  for (int64_t g = 0; g < groups_of(c); g++) codec.unpack_zeros(c, a.qzeros, g, static_cast<uint8_t>(a.zero_offset));
}

void gptq_pack(Engine& engine, const nm_gptq_args& a) {
  const nm_codes& c = check(a);
  const Codec& codec = kCodecs[c.bits - 2];
  check_zeros(c, a.zero_offset);
  std::atomic<bool> bad{false};
  over_columns(engine, c, a.cancel, [&](int64_t n0, int64_t n1) {
    if (!codec.pack_columns(c, a.qweight, n0, n1)) bad = true;
  });
  if (bad) refuse_codes(c);
  for (int64_t g = 0; g < groups_of(c); g++) codec.pack_zeros(c, a.qzeros, g, static_cast<uint8_t>(a.zero_offset));
}

}  // namespace nm
