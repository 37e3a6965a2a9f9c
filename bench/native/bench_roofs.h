// What this machine gives in the moment of a measurement: bytes read by all threads from the cache or memory that they
// fit in, and multiply-adds from registers, of floats and of integers. Shares of these are what a benchmark prints.
#pragma once

// GCC 12 warns about its own "undefined" vectors (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/engine.h"
#include "core/tiles_amx.h"
#include "nanomodel.h"

namespace bench {

/** Of many samples: a mean would tell of the machine's other guests. */
struct Spread {
  double median, least, most;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

/** Seconds: on one thread by its own clock, for which other programs on the machine do not count; else by the wall. */
inline double now(int threads) {
  if (threads > 1) return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/** 64-byte aligned memory, touched. */
class Aligned {
 public:
  explicit Aligned(int64_t bytes)
      : data_(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)))) {
    if (data_ == nullptr) std::abort();
    std::fill_n(data_, bytes, uint8_t{1});
  }
  ~Aligned() { std::free(data_); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
};

/** What a call does to memory; arrays are as long as each other. */
enum Traffic : int32_t { kRead, kUpdate, kCopy, kMerge, kCombine };  // x, x = f(x), y = x, x = f(x, z), y = f(x, z)

inline const char* traffic_name(Traffic t) {
  constexpr const char* kNames[] = {"read", "update", "copy", "merge", "combine"};
  return kNames[t];
}

constexpr int64_t arrays_of(Traffic t) { return t == kCombine ? 3 : t == kCopy || t == kMerge ? 2 : 1; }

/** Bytes read and written, an array being one byte. */
constexpr int64_t moves_of(Traffic t) { return t == kRead ? 1 : t == kUpdate || t == kCopy ? 2 : 3; }

using Vector32 = long long __attribute__((vector_size(32), aligned(8), may_alias));
using Vector64 = long long __attribute__((vector_size(64), aligned(8), may_alias));

/**
 * One pass over arrays side by side in memory[bytes]. A read takes four streams: more than one gives on every machine
 * tried. From memory they are prefetched; in the caches of a core a prefetch only takes the place of a load.
 */
template <class V, Traffic kTraffic, bool kPrefetch>
__attribute__((always_inline)) inline long long pass(uint8_t* memory, int64_t bytes) {
  constexpr int kStreams = kTraffic == kRead ? 4 : 1, kParts = 64 / static_cast<int>(sizeof(V));
  const int64_t size = bytes / arrays_of(kTraffic) / 256 * 256, stream = size / kStreams;
  uint8_t* const to = kTraffic == kUpdate || kTraffic == kMerge ? memory : memory + size * (arrays_of(kTraffic) - 1);
  V sum[kStreams * kParts] = {};
  for (int64_t i = 0; i < stream; i += 64)
#pragma GCC unroll 8
    for (int s = 0; s < kStreams * kParts; s++) {
      const int64_t at = s / kParts * stream + i + s % kParts * static_cast<int64_t>(sizeof(V));
      if (kPrefetch && s % kParts == 0) {
        __builtin_prefetch(memory + at + 2048);
        if (kTraffic == kMerge || kTraffic == kCombine) __builtin_prefetch(memory + size + at + 2048);
      }
      V x = *reinterpret_cast<const V*>(memory + at);
      if (kTraffic == kMerge || kTraffic == kCombine) x |= *reinterpret_cast<const V*>(memory + size + at);
      if (kTraffic == kRead)
        sum[s] |= x;
      else
        *reinterpret_cast<V*>(to + at) = x + 1;
    }
  for (int s = 1; s < kStreams * kParts; s++) sum[0] |= sum[s];
  return sum[0][0];
}

template <Traffic kTraffic, bool kPrefetch>
__attribute__((target("avx2"))) inline long long pass_avx2(uint8_t* memory, int64_t bytes) {
  return pass<Vector32, kTraffic, kPrefetch>(memory, bytes);
}

template <Traffic kTraffic, bool kPrefetch>
__attribute__((target("avx512f,avx512dq"))) inline long long pass_avx512(uint8_t* memory, int64_t bytes) {
  return pass<Vector64, kTraffic, kPrefetch>(memory, bytes);
}

template <Traffic kTraffic>
long long pass_of(bool wide, bool prefetch, uint8_t* memory, int64_t bytes) {
  if (wide) return prefetch ? pass_avx512<kTraffic, true>(memory, bytes) : pass_avx512<kTraffic, false>(memory, bytes);
  return prefetch ? pass_avx2<kTraffic, true>(memory, bytes) : pass_avx2<kTraffic, false>(memory, bytes);
}

inline long long pass_of(Traffic traffic, bool wide, bool prefetch, uint8_t* memory, int64_t bytes) {
  switch (traffic) {
    case kUpdate:
      return pass_of<kUpdate>(wide, prefetch, memory, bytes);
    case kCopy:
      return pass_of<kCopy>(wide, prefetch, memory, bytes);
    case kMerge:
      return pass_of<kMerge>(wide, prefetch, memory, bytes);
    case kCombine:
      return pass_of<kCombine>(wide, prefetch, memory, bytes);
    default:
      return pass_of<kRead>(wide, prefetch, memory, bytes);
  }
}

__attribute__((target("avx2,fma"))) inline float fma_avx2(int64_t rounds) {
  __m256 sum[12];
  for (__m256& s : sum) s = _mm256_set1_ps(1);
  const __m256 a = _mm256_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 12
    for (int s = 0; s < 12; s++) sum[s] = _mm256_fmadd_ps(sum[s], a, a);
  for (int s = 1; s < 12; s++) sum[0] = _mm256_add_ps(sum[0], sum[s]);
  return _mm256_cvtss_f32(sum[0]);
}

__attribute__((target("avx512f"))) inline float fma_avx512(int64_t rounds) {
  __m512 sum[12];
  for (__m512& s : sum) s = _mm512_set1_ps(1);
  const __m512 a = _mm512_set1_ps(0.999f);
  for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 12
    for (int s = 0; s < 12; s++) sum[s] = _mm512_fmadd_ps(sum[s], a, a);
  for (int s = 1; s < 12; s++) sum[0] = _mm512_add_ps(sum[0], sum[s]);
  return _mm512_cvtss_f32(sum[0]);
}

/**
 * Multiply-adds from registers: of float32, of pairs of int16, of four int8. And in tiles fed from the caches: of int8, two
 * of those for one of int16, and two, three or six of bf16 for one of more precise floats.
 */
enum Multiply : int32_t { kFma, kInt16, kInt8, kTilesInt16, kTilesInt8, kTiles2Bf16, kTiles3Bf16, kTiles6Bf16 };

inline const char* multiply_name(Multiply m) {
  constexpr const char* kNames[] = {"FMA",      "int16",      "int8",       "AMX int16",
                                    "AMX int8", "AMX 2 bf16", "AMX 3 bf16", "AMX 6 bf16"};
  return kNames[m];
}

/** Twelve multiply-adds a round. Sums begin apart: the compiler would make one of equal ones. */
#define NM_INTEGER_ROUNDS(vector, sums, step)                                                    \
  vector sum[sums], a = vector{} + 0x01010101;                                                   \
  for (int s = 0; s < sums; s++) sum[s] = vector{} + s;                                          \
  for (int64_t i = 0; i < rounds; i++) _Pragma("GCC unroll 12") for (vector & s : sum) s = step; \
  for (int s = 1; s < sums; s++) sum[0] += sum[s];                                               \
  return static_cast<float>(sum[0][0])

/** The products of a with itself, anew each time: 16 registers do not hold twelve sums and what their products need. */
__attribute__((target("avx2"))) inline __m256i pairs_of(__m256i a) {
  __asm__ volatile("vpmaddwd %0, %0, %0" : "+x"(a));
  return a;
}
__attribute__((target("avx2"))) inline __m256i bytes_of(__m256i a) {
  __asm__ volatile("vpmaddubsw %0, %0, %0" : "+x"(a));
  return a;
}
__attribute__((target("avx2"))) inline float pairs_avx2(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m256i, 6, _mm256_add_epi32(_mm256_add_epi32(s, pairs_of(a)), pairs_of(a)));
}
__attribute__((target("avx2"))) inline float bytes_avx2(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m256i, 6, _mm256_add_epi16(_mm256_add_epi16(s, bytes_of(a)), bytes_of(a)));
}
/** In place, for the same reason. */
__attribute__((target("avxvnni"))) inline __m256i add_pairs(__m256i sum, __m256i a) {
  __asm__ volatile("%{vex%} vpdpwssd %1, %1, %0" : "+x"(sum) : "x"(a));
  return sum;
}
__attribute__((target("avxvnni"))) inline __m256i add_bytes(__m256i sum, __m256i a) {
  __asm__ volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(a));
  return sum;
}
__attribute__((target("avxvnni"))) inline float pairs_avx2_vnni(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m256i, 12, add_pairs(s, a));
}
__attribute__((target("avxvnni"))) inline float bytes_avx2_vnni(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m256i, 12, add_bytes(s, a));
}
__attribute__((target("avx512bw"))) inline float pairs_avx512(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m512i, 12, _mm512_add_epi32(s, _mm512_madd_epi16(a, s)));
}
__attribute__((target("avx512bw"))) inline float bytes_avx512(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m512i, 12, _mm512_add_epi16(s, _mm512_maddubs_epi16(a, s)));
}
__attribute__((target("avx512vnni"))) inline float pairs_avx512_vnni(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m512i, 12, _mm512_dpwssd_epi32(s, a, a));
}
__attribute__((target("avx512vnni"))) inline float bytes_avx512_vnni(int64_t rounds) {
  NM_INTEGER_ROUNDS(__m512i, 12, _mm512_dpbusd_epi32(s, a, a));
}

#undef NM_INTEGER_ROUNDS

/** Without VNNI, products of bytes end in int16. */
inline float multiply(Multiply what, int32_t tier, int64_t rounds) {
  const bool wide = tier >= NM_TIER_AVX512;
  if (what == kFma) return wide ? fma_avx512(rounds) : fma_avx2(rounds);
  switch (tier) {
    case NM_TIER_AVX512_VNNI:
    case NM_TIER_AVX512_AMX:
      return what == kInt16 ? pairs_avx512_vnni(rounds) : bytes_avx512_vnni(rounds);
    case NM_TIER_AVX512:
      return what == kInt16 ? pairs_avx512(rounds) : bytes_avx512(rounds);
    case NM_TIER_AVX2_VNNI:
      return what == kInt16 ? pairs_avx2_vnni(rounds) : bytes_avx2_vnni(rounds);
    default:
      return what == kInt16 ? pairs_avx2(rounds) : bytes_avx2(rounds);
  }
}

/** Of tiles: of the left sides, in the second cache, and of the right ones, in the first. */
constexpr int64_t kLeft = 512 << 10, kRight = 32 << 10;

/** Four products of tiles a round, two left sides times two right ones. */
template <bool kInt8>
__attribute__((target("amx-tile,amx-int8,amx-bf16"))) inline void multiply_tiles(int64_t rounds,
                                                                                 const uint8_t* memory) {
  using namespace nm;
  const Tiles tiles;
  const uint8_t *const left = memory, *const right = memory + kLeft;
  tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
#define NM_DOT(sum, a, b) kInt8 ? tile_dot_ss<sum, a, b>() : tile_dot_bf16<sum, a, b>()
  for (int64_t i = 0; i < rounds; i++) {
    const uint8_t *a = left + i * 2048 % kLeft, *b = right + i * 2048 % kRight;
    tile_load<6>(b, 64);
    tile_load<4>(a, 64);
    NM_DOT(0, 4, 6);
    tile_load<7>(b + 1024, 64);
    NM_DOT(1, 4, 7);
    tile_load<5>(a + 1024, 64);
    NM_DOT(2, 5, 6);
    NM_DOT(3, 5, 7);
  }
#undef NM_DOT
}

inline volatile double sink;

/**
 * Roofs on a thread pool like that of the calls they are compared with. A sample is some hundred microseconds long: the
 * hand-over to the threads does not count then, and few samples lose their core to other programs.
 */
class Roofs {
 public:
  Roofs(int threads, int32_t tier)
      : tier_(tier), wide_(tier >= NM_TIER_AVX512), engine_(options(threads, tier), threads, tier) {}

  /**
   * Bytes read and written a second by going over memory[bytes] again and again. Each thread keeps to its part while
   * that fits the caches of a core; of more, threads take pieces in turn, so that one that lost its core holds up nobody.
   */
  double rate(Traffic traffic, uint8_t* memory, int64_t bytes) {
    const int64_t threads = engine_.threads(), part = bytes / threads;
    const bool cached = part <= kCached;
    const int64_t piece = std::max<int64_t>(768, (cached ? part : kPiece) / 768 * 768);
    const int64_t pieces = cached ? threads : bytes / piece, passes = std::max<int64_t>(1, kSample / bytes);
    const double seconds = timed(cached ? threads : pieces * passes, [&](int64_t i) {
      for (int64_t p = 0; p < (cached ? passes : 1); p++) {
        sink = static_cast<double>(pass_of(traffic, wide_, !cached, memory + i % pieces * piece, piece));
        __asm__ volatile("" ::: "memory");  // each pass reads anew
      }
    });
    const double moved = static_cast<double>(moves_of(traffic)) / static_cast<double>(arrays_of(traffic));
    return static_cast<double>(piece * pieces * passes) * moved / seconds;
  }

  /** Operations a second: a multiplication and an addition are two. */
  double rate(Multiply what) {
    if (what >= kTilesInt16) return rate_of_tiles(what);
    const double seconds =
        timed(engine_.threads(), [&](int64_t) { sink = static_cast<double>(multiply(what, tier_, kRounds)); });
    return static_cast<double>(engine_.threads() * kRounds * 12 * 2 * ((wide_ ? 16 : 8) << what)) / seconds;
  }

  /** The median of samples for some `seconds`; sample() gives one. */
  template <class F>
  static double median(double seconds, F&& sample) {
    std::vector<double> all;
    for (const double end = now(2) + seconds; all.size() < 9 || now(2) < end;) all.push_back(sample());
    return spread_of(all).median;
  }

 private:
  double rate_of_tiles(Multiply what) {
    const int64_t threads = engine_.threads();
    if (tiles_ == nullptr) tiles_ = std::make_unique<Aligned>(threads * (kLeft + kRight));
    const double seconds = timed(threads, [&](int64_t i) {
      uint8_t* const memory = tiles_->data() + i * (kLeft + kRight);
      if (what >= kTiles2Bf16)
        multiply_tiles<false>(kTileRounds, memory);
      else
        multiply_tiles<true>(kTileRounds, memory);
    });
    constexpr double kDepths[] = {32, 64, 32.0 / 2, 32.0 / 3, 32.0 / 6};  // of a tile, from kTilesInt16 on
    const double products = 4 * 16 * 16 * kDepths[what - kTilesInt16];
    return static_cast<double>(threads * kTileRounds) * 2 * products / seconds;
  }

  static constexpr int64_t kTileRounds = 1 << 14;
  static constexpr int64_t kCached = 2 << 20, kPiece = 3 << 19, kSample = 16 << 20, kRounds = 1 << 16;

  static nm_engine_options options(int threads, int32_t tier) {
    nm_engine_options o = {};
    o.struct_size = sizeof o;
    o.threads = threads;
    o.tier = tier;
    return o;
  }

  template <class F>
  double timed(int64_t items, F&& fn) {
    engine_.parallel_for(engine_.threads(), 1, nullptr, [](int64_t, int64_t, int) {});  // threads awake, as in a step
    const double start = now(engine_.threads());
    engine_.parallel_for(items, 1, nullptr, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) fn(i);
    });
    return now(engine_.threads()) - start;
  }

  const int32_t tier_;
  const bool wide_;
  std::unique_ptr<Aligned> tiles_;  // what tiles are fed with
  nm::Engine engine_;
};

}  // namespace bench
