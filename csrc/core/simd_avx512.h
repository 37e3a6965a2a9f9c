// AVX-512: vectors of 16 float32. See simd.h.
#pragma once

#include <cstdint>
#include <cstring>

namespace nm {
namespace NM_TIER {

struct Vec {
  static constexpr int N = 16;
  __m512 v;

  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec all(float x) { return {_mm512_set1_ps(x)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  /** The first n < N elements; the others are 0 and are not read. */
  static Vec load(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  /** Rounded to nearest, halves to even. */
  void to_f16(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  /** The same: half of the lowest kept bit, less one where that bit is even, carries into it; a NaN must not become infinity. */
  void to_bf16(uint16_t* p) const {
    const __m512i bits = _mm512_castps_si512(v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i carry = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, carry), 16);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
  }
  /** Whole numbers 0..255. */
  void to_u8(uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
  }

  static Vec from_f16(const uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Vec from_f16(const uint16_t* p, int n) { return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(n), p))}; }
  static Vec from_bf16(const uint16_t* p) { return from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static Vec from_bf16(const uint16_t* p, int n) { return from_bf16(_mm256_maskz_loadu_epi16(mask(n), p)); }
  static Vec from_u8(const uint8_t* p) {
    return from_i32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Vec from_u8(const uint8_t* p, int n) {
    return from_i32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(n), p)));
  }

  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  static Vec round(Vec a) {  // halves to even
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
  /** a where x < y, else b. */
  static Vec where_less(Vec x, Vec y, Vec a, Vec b) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
  }
  /** Bit i: a > b in lane i. */
  static uint32_t greater(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
  /** p 2^n for integral n in -152..128: results below the normal range are rounded, not flushed. */
  static Vec scale_exp2(Vec p, Vec n) { return {_mm512_scalef_ps(p.v, n.v)}; }
  /** n and m of x = 2^n m, 1 <= m < 2, for normal x > 0. */
  Vec exponent() const {
    return {
        _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(_mm512_castps_si512(v), 23), _mm512_set1_epi32(127)))};
  }
  Vec mantissa() const {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffff));
    return {_mm512_castsi512_ps(_mm512_or_si512(bits, _mm512_set1_epi32(0x3f800000)))};
  }
  /** Each of the N / 2 numbers at p twice, side by side. */
  static Vec load_twice(const float* p) {
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return {_mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
  }
  /** (a, b) -> (a cos - b sin, b cos + a sin) for pairs side by side. */
  static Vec rotate_pairs(Vec x, Vec cos, Vec sin) {
    return {_mm512_fmaddsub_ps(x.v, cos.v, _mm512_mul_ps(_mm512_permute_ps(x.v, 0xb1), sin.v))};
  }
  float sum() const {  // a fixed tree: halves, quarters, pairs
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return sum8(h);
  }
  float largest() const { return _mm512_reduce_max_ps(v); }
  /** Lane i = a[i].sum(), in an order of its own. */
  static Vec sums(const Vec* a) {
    __m512 quad[4];  // quad[i]: in each 128 bits, the sums over these bits of a[4 i] .. a[4 i + 3]
    for (int i = 0; i < 4; i++) {
      const Vec* b = a + 4 * i;
      const __m512 p = _mm512_add_ps(_mm512_unpacklo_ps(b[0].v, b[1].v), _mm512_unpackhi_ps(b[0].v, b[1].v));
      const __m512 q = _mm512_add_ps(_mm512_unpacklo_ps(b[2].v, b[3].v), _mm512_unpackhi_ps(b[2].v, b[3].v));
      const __m512d pd = _mm512_castps_pd(p), qd = _mm512_castps_pd(q);
      quad[i] =
          _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(pd, qd)), _mm512_castpd_ps(_mm512_unpackhi_pd(pd, qd)));
    }
    const auto pair = [](__m512 x, __m512 y) {
      return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
    };
    return {pair(pair(quad[0], quad[1]), pair(quad[2], quad[3]))};
  }

 private:
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static Vec from_i32(__m512i x) { return {_mm512_cvtepi32_ps(x)}; }
  static Vec from_bf16(__m256i x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))}; }
  static float sum8(__m256 h) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
  }
};

/** One vector of float64, as Vec is one of float32. */
struct Vec64 {
  static constexpr int N = 8;
  __m512d v;

  static Vec64 all(double x) { return {_mm512_set1_pd(x)}; }
  static Vec64 load(const double* p) { return {_mm512_loadu_pd(p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
  static Vec64 low(Vec x) { return {_mm512_cvtps_pd(_mm512_castps512_ps256(x.v))}; }
  static Vec64 high(Vec x) { return {_mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1))}; }
  static Vec64 subtract_product(Vec64 a, Vec64 b, Vec64 c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
  friend Vec64 operator/(Vec64 a, Vec64 b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend Vec64 operator+(Vec64 a, Vec64 b) { return {_mm512_add_pd(a.v, b.v)}; }
};

/**
 * One vector of 32 bits a lane: an int32, two int16, four bytes or packed codes.
 *   field<mask, high>   the masked bits in the mantissa of `high`, a power of two they add to
 *   dot                 sum + the products of the int16 in each lane
 *   dot_bytes           sum + those of the bytes, codes unsigned (where NM_DOT_BYTES or NM_DOT_ALL_BYTES say so)
 *   add_byte_pairs      the same in int16, two products each, which must not overflow (elsewhere)
 */
struct Lanes {
  __m512i v;

  static Lanes zero() { return {_mm512_setzero_si512()}; }
  static Lanes all(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static Lanes load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  static Lanes from_u8(const uint8_t* p) {
    return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  template <int kBits>
  Lanes shifted() const {
    return {_mm512_srli_epi32(v, kBits)};
  }
  Lanes sixteenth() const { return {_mm512_srai_epi32(v, 4)}; }
  Vec to_float() const { return {_mm512_cvtepi32_ps(v)}; }
  template <int kMask, int kHigh>
  Vec field() const {
    constexpr int kAndOr = 0xEA;  // (a & b) | c
    return {
        _mm512_castsi512_ps(_mm512_ternarylogic_epi32(v, _mm512_set1_epi32(kMask), _mm512_set1_epi32(kHigh), kAndOr))};
  }

  friend Lanes operator&(Lanes a, Lanes b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
#if defined(__AVX512VNNI__)
  static Lanes dot(Lanes sum, Lanes a, Lanes b) { return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)}; }
  static Lanes dot_bytes(Lanes sum, Lanes codes, Lanes x) { return {_mm512_dpbusd_epi32(sum.v, codes.v, x.v)}; }
#else
  static Lanes dot(Lanes sum, Lanes a, Lanes b) { return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))}; }
  static Lanes add_byte_pairs(Lanes sum, Lanes codes, Lanes x) {
    return {_mm512_add_epi16(sum.v, _mm512_maddubs_epi16(codes.v, x.v))};
  }
#endif
};

}  // namespace NM_TIER
}  // namespace nm
