// NEON: a vector is two registers of four float32, so that every kernel has the shape it has on AVX2 (twice the registers
// of half the width) and the same bits come out. See simd.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#if defined(NM_NEON_I8MM)
#define NM_DOT_ALL_BYTES 1
#endif
#if defined(NM_NEON_I8MM) || defined(NM_NEON_DOT)
#define NM_DOT_BYTES 1
#endif

namespace nm {
namespace NM_TIER {

struct Vec {
  static constexpr int N = 8;
  struct Pair {
    float32x4_t low, high;
  };
  Pair v;

  static Vec zero() { return all(0); }
  static Vec all(float x) { return {{vdupq_n_f32(x), vdupq_n_f32(x)}}; }
  static Vec load(const float* p) { return {{vld1q_f32(p), vld1q_f32(p + 4)}}; }
  /** The first n < N elements; the others are 0 and are not read. */
  static Vec load(const float* p, int n) {
    float part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return load(part);
  }
  void store(float* p) const {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
  }
  void store(float* p, int n) const {
    float part[N];
    store(part);
    for (int i = 0; i < n; i++) p[i] = part[i];
  }
  /** Rounded to nearest, halves to even. */
  void to_f16(uint16_t* p) const {
    vst1q_u16(p, vcombine_u16(vreinterpret_u16_f16(vcvt_f16_f32(v.low)), vreinterpret_u16_f16(vcvt_f16_f32(v.high))));
  }
  void to_bf16(uint16_t* p) const { vst1q_u16(p, vcombine_u16(bf16(v.low), bf16(v.high))); }
  /** Whole numbers 0..255. */
  void to_u8(uint8_t* p) const {
    const int16x8_t words = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(v.low)), vqmovn_s32(vcvtnq_s32_f32(v.high)));
    vst1_u8(p, vqmovun_s16(words));
  }

  static Vec from_f16(const uint16_t* p) {
    const float16x8_t x = vreinterpretq_f16_u16(vld1q_u16(p));
    return {{vcvt_f32_f16(vget_low_f16(x)), vcvt_f32_f16(vget_high_f16(x))}};
  }
  static Vec from_f16(const uint16_t* p, int n) {
    uint16_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_f16(part);
  }
  static Vec from_bf16(const uint16_t* p) {
    const uint16x8_t x = vld1q_u16(p);
    return {{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(x), 16)),
             vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(x), 16))}};
  }
  static Vec from_bf16(const uint16_t* p, int n) {
    uint16_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_bf16(part);
  }
  static Vec from_u8(const uint8_t* p) {
    const uint16x8_t x = vmovl_u8(vld1_u8(p));
    return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(x))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(x)))}};
  }
  static Vec from_u8(const uint8_t* p, int n) {
    uint8_t part[N] = {};
    for (int i = 0; i < n; i++) part[i] = p[i];
    return from_u8(part);
  }

  friend Vec operator+(Vec a, Vec b) { return {{vaddq_f32(a.v.low, b.v.low), vaddq_f32(a.v.high, b.v.high)}}; }
  friend Vec operator-(Vec a, Vec b) { return {{vsubq_f32(a.v.low, b.v.low), vsubq_f32(a.v.high, b.v.high)}}; }
  friend Vec operator*(Vec a, Vec b) { return {{vmulq_f32(a.v.low, b.v.low), vmulq_f32(a.v.high, b.v.high)}}; }
  friend Vec operator/(Vec a, Vec b) { return {{vdivq_f32(a.v.low, b.v.low), vdivq_f32(a.v.high, b.v.high)}}; }
  static Vec fma(Vec a, Vec b, Vec c) {
    return {{vfmaq_f32(c.v.low, a.v.low, b.v.low), vfmaq_f32(c.v.high, a.v.high, b.v.high)}};
  }
  /** Where either is NaN the second, as on x86; FMAX would give NaN. */
  static Vec max(Vec a, Vec b) { return where_less(b, a, a, b); }
  static Vec min(Vec a, Vec b) { return where_less(a, b, a, b); }
  static Vec sqrt(Vec a) { return {{vsqrtq_f32(a.v.low), vsqrtq_f32(a.v.high)}}; }
  static Vec round(Vec a) { return {{vrndnq_f32(a.v.low), vrndnq_f32(a.v.high)}}; }  // halves to even
  static Vec abs(Vec a) { return {{vabsq_f32(a.v.low), vabsq_f32(a.v.high)}}; }
  /** a where x < y, else b. */
  static Vec where_less(Vec x, Vec y, Vec a, Vec b) {
    return {{vbslq_f32(vcltq_f32(x.v.low, y.v.low), a.v.low, b.v.low),
             vbslq_f32(vcltq_f32(x.v.high, y.v.high), a.v.high, b.v.high)}};
  }
  /** Bit i: a > b in lane i. */
  static uint32_t greater(Vec a, Vec b) {
    constexpr uint16_t kBits[N] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t lanes =
        vcombine_u16(vmovn_u32(vcgtq_f32(a.v.low, b.v.low)), vmovn_u32(vcgtq_f32(a.v.high, b.v.high)));
    return vaddvq_u16(vandq_u16(lanes, vld1q_u16(kBits)));
  }
  /** p 2^n for integral n in -152..128: results below the normal range are rounded, not flushed. */
  static Vec scale_exp2(Vec p, Vec n) {
    const Vec half = round(n * all(0.5f));
    return p * exp2_integral(half) * exp2_integral(n - half);
  }
  /** n and m of x = 2^n m, 1 <= m < 2, for normal x > 0. */
  Vec exponent() const { return {{exponent(v.low), exponent(v.high)}}; }
  Vec mantissa() const { return {{mantissa(v.low), mantissa(v.high)}}; }
  /** Each of the N / 2 numbers at p twice, side by side. */
  static Vec load_twice(const float* p) {
    const float32x4_t x = vld1q_f32(p);
    return {{vzip1q_f32(x, x), vzip2q_f32(x, x)}};
  }
  /** (a, b) -> (a cos - b sin, b cos + a sin) for pairs side by side. */
  static Vec rotate_pairs(Vec x, Vec cos, Vec sin) {
    return {{rotate_pairs(x.v.low, cos.v.low, sin.v.low), rotate_pairs(x.v.high, cos.v.high, sin.v.high)}};
  }
  float sum() const {  // a fixed tree: halves, quarters, pairs
    const float32x4_t quad = vaddq_f32(v.low, v.high);
    const float32x2_t pair = vadd_f32(vget_low_f32(quad), vget_high_f32(quad));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
  }
  float largest() const {
    const float32x4_t quad = max(*this, {{v.high, v.low}}).v.low;
    const float32x2_t a = vget_low_f32(quad), b = vget_high_f32(quad), pair = vbsl_f32(vcgt_f32(a, b), a, b);
    const float x = vget_lane_f32(pair, 0), y = vget_lane_f32(pair, 1);
    return x > y ? x : y;
  }
  /** Lane i = a[i].sum(), in an order of its own. */
  static Vec sums(const Vec* a) {
    Vec quads[2];  // quads[i]: in each register, the sums over it of a[4 i] .. a[4 i + 3]
    for (int i = 0; i < 2; i++) {
      const Vec* b = a + 4 * i;
      quads[i] = {{quad(b[0].v.low, b[1].v.low, b[2].v.low, b[3].v.low),
                   quad(b[0].v.high, b[1].v.high, b[2].v.high, b[3].v.high)}};
    }
    return {{vaddq_f32(quads[0].v.low, quads[0].v.high), vaddq_f32(quads[1].v.low, quads[1].v.high)}};
  }

 private:
  /** 2^n for integral n in -126..127. */
  static Vec exp2_integral(Vec n) { return {{exp2_integral(n.v.low), exp2_integral(n.v.high)}}; }
  static float32x4_t exp2_integral(float32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static float32x4_t exponent(float32x4_t x) {
    const int32x4_t biased = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 23));
    return vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)));
  }
  static float32x4_t mantissa(float32x4_t x) {
    const uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x7fffff));
    return vreinterpretq_f32_u32(vorrq_u32(bits, vdupq_n_u32(0x3f800000)));
  }
  static float32x4_t rotate_pairs(float32x4_t x, float32x4_t cos, float32x4_t sin) {
    constexpr uint32_t kOdd[4] = {0x80000000u, 0, 0x80000000u, 0};  // the sign of b sin
    const uint32x4_t swapped = vreinterpretq_u32_f32(vmulq_f32(vrev64q_f32(x), sin));
    return vfmaq_f32(vreinterpretq_f32_u32(veorq_u32(swapped, vld1q_u32(kOdd))), x, cos);
  }
  static float32x4_t quad(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
    const float64x2_t p = vreinterpretq_f64_f32(vaddq_f32(vzip1q_f32(a, b), vzip2q_f32(a, b)));
    const float64x2_t q = vreinterpretq_f64_f32(vaddq_f32(vzip1q_f32(c, d), vzip2q_f32(c, d)));
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(p, q)), vreinterpretq_f32_f64(vzip2q_f64(p, q)));
  }
  /** Half of the lowest kept bit, less one where that bit is even, carries into it; a NaN must not become infinity. */
  static uint16x4_t bf16(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x), upper = vshrq_n_u32(bits, 16);
    const uint32x4_t carry = vaddq_u32(vandq_u32(upper, vdupq_n_u32(1)), vdupq_n_u32(0x7fff));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, carry), 16);
    return vmovn_u32(vbslq_u32(vceqq_f32(x, x), rounded, vorrq_u32(upper, vdupq_n_u32(0x40))));
  }
};

/** One vector of float64, as Vec is one of float32. */
struct Vec64 {
  static constexpr int N = 4;
  struct Pair {
    float64x2_t low, high;
  };
  Pair v;

  static Vec64 all(double x) { return {{vdupq_n_f64(x), vdupq_n_f64(x)}}; }
  static Vec64 load(const double* p) { return {{vld1q_f64(p), vld1q_f64(p + 2)}}; }
  void store(double* p) const {
    vst1q_f64(p, v.low);
    vst1q_f64(p + 2, v.high);
  }
  static Vec64 low(Vec x) { return widen(x.v.low); }
  static Vec64 high(Vec x) { return widen(x.v.high); }
  static Vec64 subtract_product(Vec64 a, Vec64 b, Vec64 c) {
    return {{vfmsq_f64(c.v.low, a.v.low, b.v.low), vfmsq_f64(c.v.high, a.v.high, b.v.high)}};
  }
  friend Vec64 operator/(Vec64 a, Vec64 b) { return {{vdivq_f64(a.v.low, b.v.low), vdivq_f64(a.v.high, b.v.high)}}; }
  friend Vec64 operator+(Vec64 a, Vec64 b) { return {{vaddq_f64(a.v.low, b.v.low), vaddq_f64(a.v.high, b.v.high)}}; }

 private:
  static Vec64 widen(float32x4_t x) { return {{vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)}}; }
};

/**
 * One vector of 32 bits a lane: an int32, two int16, four bytes or packed codes.
 *   field<mask, high>   the masked bits in the mantissa of `high`, a power of two they add to
 *   dot                 sum + the products of the int16 in each lane
 *   dot_bytes           sum + those of the bytes, codes unsigned (where NM_DOT_BYTES or NM_DOT_ALL_BYTES say so)
 *   dot_unsigned        the same with x unsigned, too
 *   add_byte_pairs      the same in int16, two products each, which must not overflow (elsewhere)
 */
struct Lanes {
  struct Pair {
    int32x4_t low, high;
  };
  Pair v;

  static Lanes zero() { return all(0); }
  static Lanes all(int32_t x) { return {{vdupq_n_s32(x), vdupq_n_s32(x)}}; }
  static Lanes load(const uint8_t* p) {
    return {{vreinterpretq_s32_u8(vld1q_u8(p)), vreinterpretq_s32_u8(vld1q_u8(p + 16))}};
  }
  static Lanes from_u8(const uint8_t* p) {
    const int16x8_t x = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p)));
    return {{vmovl_s16(vget_low_s16(x)), vmovl_high_s16(x)}};
  }
  template <int kBits>
  Lanes shifted() const {
    return {{shifted<kBits>(v.low), shifted<kBits>(v.high)}};
  }
  Lanes sixteenth() const { return {{vshrq_n_s32(v.low, 4), vshrq_n_s32(v.high, 4)}}; }
  Vec to_float() const { return {{vcvtq_f32_s32(v.low), vcvtq_f32_s32(v.high)}}; }
  template <int kMask, int kHigh>
  Vec field() const {
    return {{field<kMask, kHigh>(v.low), field<kMask, kHigh>(v.high)}};
  }

  friend Lanes operator&(Lanes a, Lanes b) { return {{vandq_s32(a.v.low, b.v.low), vandq_s32(a.v.high, b.v.high)}}; }
  friend Lanes operator+(Lanes a, Lanes b) { return {{vaddq_s32(a.v.low, b.v.low), vaddq_s32(a.v.high, b.v.high)}}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {{vsubq_s32(a.v.low, b.v.low), vsubq_s32(a.v.high, b.v.high)}}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {{vmulq_s32(a.v.low, b.v.low), vmulq_s32(a.v.high, b.v.high)}}; }
  static Lanes dot(Lanes sum, Lanes a, Lanes b) {
    return {{dot(sum.v.low, a.v.low, b.v.low), dot(sum.v.high, a.v.high, b.v.high)}};
  }
#if defined(NM_DOT_BYTES)
  static Lanes dot_bytes(Lanes sum, Lanes codes, Lanes x) {
    return {{dot_bytes(sum.v.low, codes.v.low, x.v.low), dot_bytes(sum.v.high, codes.v.high, x.v.high)}};
  }
  static Lanes dot_unsigned(Lanes sum, Lanes codes, Lanes x) {
    return {{dot_unsigned(sum.v.low, codes.v.low, x.v.low), dot_unsigned(sum.v.high, codes.v.high, x.v.high)}};
  }
#else
  static Lanes add_byte_pairs(Lanes sum, Lanes codes, Lanes x) {
    return {{add_byte_pairs(sum.v.low, codes.v.low, x.v.low), add_byte_pairs(sum.v.high, codes.v.high, x.v.high)}};
  }
#endif

 private:
  template <int kBits>
  static int32x4_t shifted(int32x4_t x) {
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), kBits));
  }
  template <int kMask, int kHigh>
  static float32x4_t field(int32x4_t x) {
    return vreinterpretq_f32_s32(vorrq_s32(vandq_s32(x, vdupq_n_s32(kMask)), vdupq_n_s32(kHigh)));
  }
  /** The products of two halves of a register lie side by side in their order, so pairs of them are added. */
  static int32x4_t dot(int32x4_t sum, int32x4_t a, int32x4_t b) {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y)));
  }
#if defined(NM_DOT_BYTES)
  static int32x4_t dot_unsigned(int32x4_t sum, int32x4_t codes, int32x4_t x) {
    return vreinterpretq_s32_u32(
        vdotq_u32(vreinterpretq_u32_s32(sum), vreinterpretq_u8_s32(codes), vreinterpretq_u8_s32(x)));
  }
#endif
#if defined(NM_DOT_ALL_BYTES)
  static int32x4_t dot_bytes(int32x4_t sum, int32x4_t codes, int32x4_t x) {
    return vusdotq_s32(sum, vreinterpretq_u8_s32(codes), vreinterpretq_s8_s32(x));
  }
#elif defined(NM_DOT_BYTES)
  static int32x4_t dot_bytes(int32x4_t sum, int32x4_t codes, int32x4_t x) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(codes), vreinterpretq_s8_s32(x));
  }
#else
  static int32x4_t add_byte_pairs(int32x4_t sum, int32x4_t codes, int32x4_t x) {
    const int8x16_t a = vreinterpretq_s8_s32(codes), b = vreinterpretq_s8_s32(x);
    const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
    return vreinterpretq_s32_s16(vaddq_s16(vreinterpretq_s16_s32(sum), pairs));
  }
#endif
};

/** Eight int32, and what fits of them into narrower integers, in an order of bytes. */
struct Eight {
  int32x4_t low, high;

  static Eight zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  /** round(x * factor), halves to even */
  static Eight rounded(const float* x, float factor) {
    return {vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor)), vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), factor))};
  }
  friend Eight operator+(Eight a, Eight b) { return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)}; }
  int32_t total() const { return vaddvq_s32(vaddq_s32(low, high)); }
  void to_i16(int16_t* p, const uint8_t (&order)[16]) const {
    vst1q_u8(reinterpret_cast<uint8_t*>(p), vqtbl1q_u8(vreinterpretq_u8_s16(words()), vld1q_u8(order)));
  }
  void to_i8(int8_t* p, const uint8_t (&order)[8]) const {
    const uint8x16_t bytes = vcombine_u8(vreinterpret_u8_s8(vqmovn_s16(words())), vdup_n_u8(0));
    vst1_u8(reinterpret_cast<uint8_t*>(p), vqtbl1_u8(bytes, vld1_u8(order)));
  }

 private:
  int16x8_t words() const { return vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)); }
};

}  // namespace NM_TIER
}  // namespace nm
