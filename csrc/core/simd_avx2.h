// AVX2: vectors of 8 float32. See simd.h.
#pragma once

#include <cstdint>
#include <cstring>

namespace nm {
namespace NM_TIER {

struct Vec {
  static constexpr int N = 8;
  __m256 v;

  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec all(float x) { return {_mm256_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  /** The first n < N elements; the others are 0 and are not read. */
  static Vec load(const float* p, int n) { return {_mm256_maskload_ps(p, mask(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, int n) const { _mm256_maskstore_ps(p, mask(n), v); }
  /** Rounded to nearest, halves to even. */
  void to_f16(uint16_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  /** The same: half of the lowest kept bit, less one where that bit is even, carries into it; a NaN must not become infinity. */
  void to_bf16(uint16_t* p) const {
    const __m256i bits = _mm256_castps_si256(v), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i carry = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, carry), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), words(_mm256_blendv_epi8(rounded, quiet, nan)));
  }
  /** Whole numbers 0..255. */
  void to_u8(uint8_t* p) const {
    const __m128i w = words(_mm256_cvtps_epi32(v));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(w, w));
  }

  static Vec from_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Vec from_f16(const uint16_t* p, int n) {
    uint16_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_f16(part);
  }
  static Vec from_bf16(const uint16_t* p) {
    const __m256i x = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(x, 16))};
  }
  static Vec from_bf16(const uint16_t* p, int n) {
    uint16_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_bf16(part);
  }
  static Vec from_u8(const uint8_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  static Vec from_u8(const uint8_t* p, int n) {
    uint8_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_u8(part);
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  static Vec round(Vec a) {  // halves to even
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  /** a where x < y, else b. */
  static Vec where_less(Vec x, Vec y, Vec a, Vec b) {
    return {_mm256_blendv_ps(b.v, a.v, _mm256_cmp_ps(x.v, y.v, _CMP_LT_OQ))};
  }
  /** Bit i: a > b in lane i. */
  static uint32_t greater(Vec a, Vec b) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)));
  }
  /** p 2^n for integral n in -152..128: results below the normal range are rounded, not flushed. */
  static Vec scale_exp2(Vec p, Vec n) {
    const Vec half = round(n * all(0.5f));
    return p * exp2_integral(half) * exp2_integral(n - half);
  }
  /** n and m of x = 2^n m, 1 <= m < 2, for normal x > 0. */
  Vec exponent() const {
    return {
        _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(v), 23), _mm256_set1_epi32(127)))};
  }
  Vec mantissa() const {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffff));
    return {_mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3f800000)))};
  }
  /** Each of the N / 2 numbers at p twice, side by side. */
  static Vec load_twice(const float* p) {
    const __m256i pairs = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return {_mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), pairs)};
  }
  /** (a, b) -> (a cos - b sin, b cos + a sin) for pairs side by side. */
  static Vec rotate_pairs(Vec x, Vec cos, Vec sin) {
    return {_mm256_fmaddsub_ps(x.v, cos.v, _mm256_mul_ps(_mm256_permute_ps(x.v, 0xb1), sin.v))};
  }
  float sum() const {  // a fixed tree: halves, quarters, pairs
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  float largest() const {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
  /** Lane i = a[i].sum(), in an order of its own. */
  static Vec sums(const Vec* a) {
    __m256 quad[2];  // quad[i]: in each 128 bits, the sums over these bits of a[4 i] .. a[4 i + 3]
    for (int i = 0; i < 2; i++) {
      const Vec* b = a + 4 * i;
      const __m256 p = _mm256_add_ps(_mm256_unpacklo_ps(b[0].v, b[1].v), _mm256_unpackhi_ps(b[0].v, b[1].v));
      const __m256 q = _mm256_add_ps(_mm256_unpacklo_ps(b[2].v, b[3].v), _mm256_unpackhi_ps(b[2].v, b[3].v));
      const __m256d pd = _mm256_castps_pd(p), qd = _mm256_castps_pd(q);
      quad[i] =
          _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(pd, qd)), _mm256_castpd_ps(_mm256_unpackhi_pd(pd, qd)));
    }
    return {
        _mm256_add_ps(_mm256_permute2f128_ps(quad[0], quad[1], 0x20), _mm256_permute2f128_ps(quad[0], quad[1], 0x31))};
  }

 private:
  /** 2^n for integral n in -126..127. */
  static Vec exp2_integral(Vec n) {
    return {
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23))};
  }
  /** The low halves of eight lanes, which fit into them. */
  static __m128i words(__m256i x) {
    return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  }
  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

/** One vector of float64, as Vec is one of float32. */
struct Vec64 {
  static constexpr int N = 4;
  __m256d v;

  static Vec64 all(double x) { return {_mm256_set1_pd(x)}; }
  static Vec64 load(const double* p) { return {_mm256_loadu_pd(p)}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
  static Vec64 low(Vec x) { return {_mm256_cvtps_pd(_mm256_castps256_ps128(x.v))}; }
  static Vec64 high(Vec x) { return {_mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1))}; }
  static Vec64 subtract_product(Vec64 a, Vec64 b, Vec64 c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
  friend Vec64 operator/(Vec64 a, Vec64 b) { return {_mm256_div_pd(a.v, b.v)}; }
  friend Vec64 operator+(Vec64 a, Vec64 b) { return {_mm256_add_pd(a.v, b.v)}; }
};

/**
 * One vector of 32 bits a lane: an int32, two int16, four bytes or packed codes.
 *   field<mask, high>   the masked bits in the mantissa of `high`, a power of two they add to
 *   dot                 sum + the products of the int16 in each lane
 *   dot_bytes           sum + those of the bytes, codes unsigned (where NM_DOT_BYTES or NM_DOT_ALL_BYTES say so)
 *   add_byte_pairs      the same in int16, two products each, which must not overflow (elsewhere)
 */
struct Lanes {
  __m256i v;

  static Lanes zero() { return {_mm256_setzero_si256()}; }
  static Lanes all(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static Lanes load(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Lanes from_u8(const uint8_t* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  template <int kBits>
  Lanes shifted() const {
    return {_mm256_srli_epi32(v, kBits)};
  }
  Lanes sixteenth() const { return {_mm256_srai_epi32(v, 4)}; }
  Vec to_float() const { return {_mm256_cvtepi32_ps(v)}; }
  template <int kMask, int kHigh>
  Vec field() const {
    return {
        _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(kMask)), _mm256_set1_epi32(kHigh)))};
  }

  friend Lanes operator&(Lanes a, Lanes b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
#if defined(__AVXVNNI__)
  static Lanes dot(Lanes sum, Lanes a, Lanes b) { return {_mm256_dpwssd_avx_epi32(sum.v, a.v, b.v)}; }
  static Lanes dot_bytes(Lanes sum, Lanes codes, Lanes x) { return {_mm256_dpbusd_avx_epi32(sum.v, codes.v, x.v)}; }
#else
  static Lanes dot(Lanes sum, Lanes a, Lanes b) { return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))}; }
  static Lanes add_byte_pairs(Lanes sum, Lanes codes, Lanes x) {
    return {_mm256_add_epi16(sum.v, _mm256_maddubs_epi16(codes.v, x.v))};
  }
#endif
};

}  // namespace NM_TIER
}  // namespace nm
