// What this machine gives in the moment of a measurement: bytes read from memory by all threads, FMA from registers.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "core/engine.h"
#include "nanomodel.h"

namespace bench {

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/** 64-byte aligned memory. */
class Aligned {
 public:
  explicit Aligned(int64_t bytes)
      : data_(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)))) {
    if (data_ == nullptr) std::abort();
  }
  ~Aligned() { std::free(data_); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
};

/** Four streams, prefetched: more than one stream gives on every machine tried. */
__attribute__((target("avx2"))) inline uint64_t read_streams(const uint8_t* from, int64_t bytes) {
  const int64_t stream = bytes / 4 / 64 * 64;
  __m256i sum[8] = {};
  for (int64_t i = 0; i < stream; i += 64)
    for (int s = 0; s < 4; s++) {
      const uint8_t* p = from + s * stream + i;
      __builtin_prefetch(p + 2048);
      sum[2 * s] = _mm256_add_epi64(sum[2 * s], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
      sum[2 * s + 1] = _mm256_add_epi64(sum[2 * s + 1], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32)));
    }
  for (int s = 1; s < 8; s++) sum[0] = _mm256_add_epi64(sum[0], sum[s]);
  return static_cast<uint64_t>(_mm256_extract_epi64(sum[0], 0));
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

inline volatile double sink;

/**
 * Roofs over the same kind of thread pool, in pieces as long as the calls they are compared with: on a busy machine a
 * long piece would lose its core more often than a short call, and look slower.
 */
class Roofs {
 public:
  Roofs(int threads, int32_t tier) : tier_(tier), engine_(options(threads, tier), threads, tier) {}

  /** GB/s of one read of bytes. */
  double read(const uint8_t* from, int64_t bytes) {
    const int64_t part = bytes / engine_.threads() / 256 * 256;
    const double seconds = timed([&](int64_t t) { sink = static_cast<double>(read_streams(from + t * part, part)); });
    return static_cast<double>(part * engine_.threads()) / seconds * 1e-9;
  }

  /** GFLOP/s of some `flops` operations. */
  double fma(double flops) {
    const bool wide = tier_ == NM_TIER_AVX512;
    const double round = 12.0 * 2 * (wide ? 16 : 8);
    const int64_t rounds = 1 + static_cast<int64_t>(flops / round / engine_.threads());
    const double seconds =
        timed([&](int64_t) { sink = static_cast<double>(wide ? fma_avx512(rounds) : fma_avx2(rounds)); });
    return static_cast<double>(engine_.threads() * rounds) * round / seconds * 1e-9;
  }

 private:
  static nm_engine_options options(int threads, int32_t tier) {
    nm_engine_options o = {};
    o.struct_size = sizeof o;
    o.threads = threads;
    o.tier = tier;
    return o;
  }

  template <class F>
  double timed(F&& fn) {
    const auto start = std::chrono::steady_clock::now();
    engine_.parallel_for(engine_.threads(), 1, nullptr, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; t++) fn(t);
    });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const int32_t tier_;
  nm::Engine engine_;
};

}  // namespace bench
