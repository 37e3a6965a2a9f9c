// Stands in for the compiler's <immintrin.h> in the build NANOMODEL_EMULATE: AVX2 and AVX-512 in plain C++ on whatever the
// host has, so that every tier is tested on machines that lack it. SIMDE does most of it; what it lacks, and where its
// bits are not those of the instruction (a fused multiply-add in two steps, one NaN for all), follows below.
#pragma once

#include "amx.h"

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
using __mmask8 = simde__mmask8;
using __mmask16 = simde__mmask16;

// The kernels ask these which tier they are compiled for; the real ones would make SIMDE use the instructions.
#if defined(NM_EMULATE_AVX512)
#define __AVX512F__ 1
#else
#define __AVX2__ 1
#endif
#if defined(NM_EMULATE_VNNI) && defined(NM_EMULATE_AVX512)
#define __AVX512VNNI__ 1
#elif defined(NM_EMULATE_VNNI)
#define __AVXVNNI__ 1
#endif

#if defined(NM_EMULATE_AMX)
#define __AMX_INT8__ 1
#define __AMX_BF16__ 1
#endif

namespace nm_emulate {

template <class Element, int kCount>
struct Lanes {
  Element at[kCount];
  template <class Vector>
  static Lanes of(const Vector& v) {
    static_assert(sizeof(Vector) == sizeof(Lanes));
    Lanes lanes;
    std::memcpy(&lanes, &v, sizeof lanes);
    return lanes;
  }
  template <class Vector>
  Vector as() const {
    static_assert(sizeof(Vector) == sizeof(Lanes));
    Vector v;
    std::memcpy(&v, this, sizeof v);
    return v;
  }
};

/** fn(i) in every lane. */
template <class Vector, class Element, class F>
inline Vector each(F fn) {
  constexpr int kCount = sizeof(Vector) / sizeof(Element);
  Lanes<Element, kCount> lanes;
  for (int i = 0; i < kCount; i++) lanes.at[i] = static_cast<Element>(fn(i));
  return lanes.template as<Vector>();
}

template <class Vector>
inline Vector fmadd(Vector a, Vector b, Vector c, bool alternate) {
  using F = Lanes<float, sizeof(Vector) / sizeof(float)>;
  const F x = F::of(a), y = F::of(b), z = F::of(c);
  return each<Vector, float>(
      [&](int i) { return __builtin_fmaf(x.at[i], y.at[i], alternate && i % 2 == 0 ? -z.at[i] : z.at[i]); });
}

/** Lanes whose mask bit is clear are 0 and not read. */
template <class Vector, class Element>
inline Vector masked_load(uint32_t mask, const void* p) {
  return each<Vector, Element>([&](int i) {
    Element x{};
    if ((mask >> i & 1u) != 0) std::memcpy(&x, static_cast<const char*>(p) + i * int{sizeof x}, sizeof x);
    return x;
  });
}

template <class Vector>
inline void masked_store(float* p, uint32_t mask, Vector v) {
  constexpr int kCount = sizeof(Vector) / sizeof(float);
  const auto lanes = Lanes<float, kCount>::of(v);
  for (int i = 0; i < kCount; i++)
    if ((mask >> i & 1u) != 0) std::memcpy(p + i, &lanes.at[i], sizeof(float));
}

/** A bit for each lane whose sign is set. */
inline uint32_t bits_of(__m256i mask) {
  const auto lanes = Lanes<int32_t, 8>::of(mask);
  uint32_t bits = 0;
  for (int i = 0; i < 8; i++) bits |= static_cast<uint32_t>(lanes.at[i] < 0) << i;
  return bits;
}

/** Halves to even; what does not fit is the integer "indefinite". */
inline __m512i to_i32(__m512 v) {
  const auto x = Lanes<float, 16>::of(v);
  return each<__m512i, int32_t>([&](int i) {
    const float rounded = std::nearbyint(x.at[i]);
    return rounded >= -0x1p31f && rounded < 0x1p31f ? static_cast<int32_t>(rounded) : INT32_MIN;
  });
}

template <class From, class To, class Result, class Vector>
inline Result widen(Vector v) {
  const auto x = Lanes<From, sizeof(Vector) / sizeof(From)>::of(v);
  return each<Result, To>([&](int i) { return x.at[i]; });
}

inline __m512i shifted_right(__m512i v, int bits) {
  const auto x = Lanes<int32_t, 16>::of(v);
  return each<__m512i, int32_t>([&](int i) { return x.at[i] >> bits; });
}

/** Products of pairs, added: modulo 2^32, which only (-2^15)^2 twice reaches. */
inline __m512i dot_pairs(__m512i a, __m512i b) {
  const auto x = Lanes<int16_t, 32>::of(a), y = Lanes<int16_t, 32>::of(b);
  return each<__m512i, int32_t>(
      [&](int i) { return int64_t{x.at[2 * i]} * y.at[2 * i] + int64_t{x.at[2 * i + 1]} * y.at[2 * i + 1]; });
}

/** sum + the products of kCount neighbours in each lane, modulo 2^32: VNNI. */
template <class A, class B, int kCount, class Vector>
inline Vector dot_lanes(Vector sum, Vector a, Vector b) {
  constexpr int kBytes = static_cast<int>(sizeof(Vector));
  const auto s = Lanes<int32_t, kBytes / 4>::of(sum);
  const auto x = Lanes<A, kBytes / int{sizeof(A)}>::of(a);
  const auto y = Lanes<B, kBytes / int{sizeof(B)}>::of(b);
  return each<Vector, int32_t>([&](int i) {
    int64_t total = s.at[i];
    for (int j = i * kCount; j < (i + 1) * kCount; j++) total += int64_t{x.at[j]} * y.at[j];
    return total;
  });
}

inline __m128i narrow_saturated_u8(__m512i v) {
  const auto x = Lanes<uint32_t, 16>::of(v);
  return each<__m128i, uint8_t>([&](int i) { return x.at[i] > 255 ? 255u : x.at[i]; });
}

inline __m256 half_of(__m512 v, int which) {
  return each<__m256, float>([x = Lanes<float, 16>::of(v), which](int i) { return x.at[8 * which + i]; });
}

/** Both conversions quiet a NaN and keep what fits of its payload, as the instructions do; SIMDE gives one NaN. */
inline float wide(uint16_t h) {
  const uint32_t sign = uint32_t{h} >> 15 << 31, exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
  uint32_t bits = sign | (exponent + 112) << 23 | mantissa << 13;
  if (exponent == 31) bits = sign | 0x7f800000u | (mantissa == 0 ? 0 : 0x400000u | mantissa << 13);
  float x;
  std::memcpy(&x, &bits, sizeof x);
  if (exponent == 0) x = std::copysign(std::ldexp(static_cast<float>(mantissa), -24), sign == 0 ? 1.0f : -1.0f);
  return x;
}

inline uint16_t narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | (size >> 13 & 0x3ffu));
  if (size >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to 65536 or is infinity
  if (size < 0x38800000u)  // below 2^-14: a multiple of 2^-24, perhaps 2^-14 itself
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(std::fabs(x) * 0x1p24f)));
  return static_cast<uint16_t>(sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
}

template <class Result, class Vector>
inline Result halves_to_f32(Vector v) {
  constexpr int kCount = sizeof(Result) / sizeof(float), kHalves = sizeof(Vector) / sizeof(uint16_t);
  static_assert(kHalves >= kCount);
  const auto h = Lanes<uint16_t, kHalves>::of(v);
  return each<Result, float>([&](int i) { return wide(h.at[i]); });
}

template <class Result, class Vector>
inline Result f32_to_halves(Vector v) {
  const auto x = Lanes<float, sizeof(Vector) / sizeof(float)>::of(v);
  return each<Result, uint16_t>([&](int i) { return narrow(x.at[i]); });
}

inline __m512 permute(__m512 v, int selector) {
  const auto x = Lanes<float, 16>::of(v);
  return each<__m512, float>([&](int i) { return x.at[i / 4 * 4 + (selector >> (i % 4 * 2) & 3)]; });
}

inline __m512 shuffle_quarters(__m512 a, __m512 b, int selector) {
  const auto x = Lanes<float, 16>::of(a), y = Lanes<float, 16>::of(b);
  return each<__m512, float>([&](int i) {
    const int from = (selector >> (i / 4 * 2) & 3) * 4 + i % 4;
    return i < 8 ? x.at[from] : y.at[from];
  });
}

inline float largest(__m512 v) {
  const auto x = Lanes<float, 16>::of(v);
  float most = x.at[0];
  for (const float lane : x.at) most = most > lane ? most : lane;
  return most;
}

}  // namespace nm_emulate

// SIMDE reads and writes whole vectors there, beyond the ends of arrays.
#undef _mm256_maskload_ps
#undef _mm256_maskstore_ps
#define _mm256_maskload_ps(p, m) nm_emulate::masked_load<__m256, float>(nm_emulate::bits_of(m), p)
#define _mm256_maskstore_ps(p, m, v) nm_emulate::masked_store(p, nm_emulate::bits_of(m), v)

#undef _mm256_cvtph_ps
#undef _mm256_cvtps_ph
#define _mm256_cvtph_ps(v) nm_emulate::halves_to_f32<__m256>(v)
#define _mm256_cvtps_ph(v, to_nearest) nm_emulate::f32_to_halves<__m128i>(v)

#undef _mm256_fmadd_ps
#undef _mm256_fmaddsub_ps
#undef _mm512_fmadd_ps
#undef _mm512_shuffle_f32x4
#define _mm256_fmadd_ps(a, b, c) nm_emulate::fmadd<__m256>(a, b, c, false)
#define _mm256_fmaddsub_ps(a, b, c) nm_emulate::fmadd<__m256>(a, b, c, true)
#define _mm512_fmadd_ps(a, b, c) nm_emulate::fmadd<__m512>(a, b, c, false)
#define _mm512_fmaddsub_ps(a, b, c) nm_emulate::fmadd<__m512>(a, b, c, true)
#undef _mm512_madd_epi16  // takes four arguments in SIMDE
#define _mm512_madd_epi16(a, b) nm_emulate::dot_pairs(a, b)
#undef _mm512_dpwssd_epi32
#undef _mm512_dpbusd_epi32
#define _mm512_dpwssd_epi32(s, a, b) (nm_emulate::dot_lanes<int16_t, int16_t, 2>(s, a, b))
#define _mm512_dpbusd_epi32(s, a, b) (nm_emulate::dot_lanes<uint8_t, int8_t, 4>(s, a, b))
#define _mm256_dpwssd_avx_epi32(s, a, b) (nm_emulate::dot_lanes<int16_t, int16_t, 2>(s, a, b))
#define _mm256_dpbusd_avx_epi32(s, a, b) (nm_emulate::dot_lanes<uint8_t, int8_t, 4>(s, a, b))
#define _mm512_srai_epi32(v, bits) nm_emulate::shifted_right(v, bits)
#define _mm512_maskz_loadu_ps(m, p) nm_emulate::masked_load<__m512, float>(m, p)
#define _mm256_maskz_loadu_epi16(m, p) nm_emulate::masked_load<__m256i, uint16_t>(m, p)
#define _mm_maskz_loadu_epi8(m, p) nm_emulate::masked_load<__m128i, uint8_t>(m, p)
#define _mm512_mask_storeu_ps(p, m, v) nm_emulate::masked_store(p, m, v)
#define _mm512_cvtps_epi32(v) nm_emulate::to_i32(v)
#define _mm512_cvtps_pd(v) nm_emulate::widen<float, double, __m512d>(v)
#define _mm512_cvtepi32_ps(v) nm_emulate::widen<int32_t, float, __m512>(v)
#define _mm512_cvtepu8_epi32(v) nm_emulate::widen<uint8_t, uint32_t, __m512i>(v)
#define _mm512_cvtepu16_epi32(v) nm_emulate::widen<uint16_t, uint32_t, __m512i>(v)
#define _mm512_cvtepi32_epi16(v) nm_emulate::widen<uint32_t, uint16_t, __m256i>(v)
#define _mm512_cvtusepi32_epi8(v) nm_emulate::narrow_saturated_u8(v)
#define _mm512_cvtph_ps(v) nm_emulate::halves_to_f32<__m512>(v)
#define _mm512_cvtps_ph(v, to_nearest) nm_emulate::f32_to_halves<__m256i>(v)
#define _mm512_extractf32x8_ps(v, which) nm_emulate::half_of(v, which)
#define _mm512_permute_ps(v, selector) nm_emulate::permute(v, selector)
#define _mm512_shuffle_f32x4(a, b, selector) nm_emulate::shuffle_quarters(a, b, selector)
#define _mm512_reduce_max_ps(v) nm_emulate::largest(v)
