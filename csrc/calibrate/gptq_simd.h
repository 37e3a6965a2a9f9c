// The vector kernels of the column loop: a vector is so many rows of W, so that nothing depends on its neighbour lane.
#pragma once

#include "calibrate/gptq_tile_simd.h"
#include "core/simd_math.h"

namespace nm {
namespace NM_TIER {
namespace {

void solve(const float* a, const float* c, float* y) {
  for (int64_t r = 0; r < kStrip; r += Vec::N) {
    Vec out[kNarrow];
#pragma GCC unroll 8
    for (int m = 0; m < kNarrow; m++) {
      Vec x = Vec::load(c + m * kStrip + r);
#pragma GCC unroll 8
      for (int i = 0; i < m; i++) x.v = Vec::fma(out[i], Vec::all(a[i * kStrip + m]), x).v;
      out[m].v = (Vec::zero() - x).v;
      out[m].store(y + m * kStrip + r);
    }
  }
}

inline Vec code_of(Vec w, Vec inverse, Vec zero, Vec max_code) {
  return Vec::max(Vec::zero(), Vec::min(max_code, Vec::round(w * inverse) + zero));
}

template <bool kCross, int kCount>
void quantize_panel(const GptqPanel& p) {
  const Vec max_code = Vec::all(p.max_code);
  for (int64_t r = 0; r < kStrip; r += Vec::N) {
    Vec d[kCount], v[kCount], loss = Vec::zero();
#pragma GCC unroll 8
    for (int m = 0; m < kCount; m++) {
      const int64_t at = m * kStrip + r;
      const Vec w = Vec::load(p.w + at), scale = Vec::load(p.scale[m] + r), zero = Vec::load(p.zero[m] + r);
      Vec sum = Vec::load(p.sum + at);
#pragma GCC unroll 8
      for (int i = 0; i < m; i++) {
        sum.v = Vec::fma(d[i], Vec::all(p.factor[i * kStrip + m]), sum).v;
        if constexpr (kCross) sum.v = Vec::fma(v[i], Vec::all(p.cross_factor[i * kStrip + m]), sum).v;
      }
      v[m].v = (w + sum).v;
      const Vec code = code_of(v[m], Vec::load(p.inverse[m] + r), zero, max_code), q = scale * (code - zero);
      const Vec e = (v[m] - q) * Vec::all(p.pivots[m]);
      loss = Vec::fma(e, e, loss);
      d[m].v = (w - q).v;
      d[m].store(p.w + at);
      code.to_u8(p.codes + at);
      if constexpr (kCross) v[m].store(p.v + at);
    }
    loss.store(p.loss + r);
  }
}

template <bool kCross>
void quantize_count(const GptqPanel& p) {
  switch (p.count) {
    case 1:
      return quantize_panel<kCross, 1>(p);
    case 2:
      return quantize_panel<kCross, 2>(p);
    case 3:
      return quantize_panel<kCross, 3>(p);
    case 4:
      return quantize_panel<kCross, 4>(p);
    case 5:
      return quantize_panel<kCross, 5>(p);
    case 6:
      return quantize_panel<kCross, 6>(p);
    case 7:
      return quantize_panel<kCross, 7>(p);
    default:
      return quantize_panel<kCross, 8>(p);
  }
}

void quantize(const GptqPanel& p) { p.v == nullptr ? quantize_count<false>(p) : quantize_count<true>(p); }

void extent(const float* w, int64_t count, float* low, float* high) {
  for (int64_t r = 0; r < kStrip; r += Vec::N) {
    Vec least = Vec::zero(), most = Vec::zero();
    for (int64_t i = 0; i < count; i++) {
      const Vec x = Vec::load(w + i * kStrip + r);
      least = Vec::min(least, x);
      most = Vec::max(most, x);
    }
    least.store(low + r);
    most.store(high + r);
  }
}

/**
 * ln x for x > 0, absolute error below 1e-6; 0 gives less than -87. x = 2^n m, 1 <= m < 2; with s = (m - c) /
 * (m + c) and c = sqrt 2, ln m = ln c + 2 (s + s^3 / 3 + s^5 / 5 + s^7 / 7), |s| < .1716.
 */
inline Vec log(Vec x) {
  const Vec n = x.exponent(), m = x.mantissa();
  const Vec c = Vec::all(1.41421356f), s = (m - c) / (m + c), square = s * s;
  Vec q = Vec::all(2.0f / 7);
  q = Vec::fma(q, square, Vec::all(2.0f / 5));
  q = Vec::fma(q, square, Vec::all(2.0f / 3));
  q = Vec::fma(q, square, Vec::all(2.0f));
  return Vec::fma(n, Vec::all(0.693147181f), Vec::fma(q, s, Vec::all(0.34657359f)));
}

void errors(const float* w, int64_t count, const float* scale, const float* zero, float max_code, float power,
            float* error) {
  const Vec most = Vec::all(max_code), p = Vec::all(power);
  for (int64_t r = 0; r < kStrip; r += Vec::N) {
    const Vec s = Vec::load(scale + r), z = Vec::load(zero + r);
    const Vec inverse = Vec::where_less(s, Vec::all(1.17549435e-38f), Vec::zero(), Vec::all(1.0f) / s);
    Vec sum = Vec::zero();
    for (int64_t i = 0; i < count; i++) {
      const Vec x = Vec::load(w + i * kStrip + r);
      sum = sum + exp(p * log(Vec::abs(s * (code_of(x, inverse, z, most) - z) - x)));
    }
    sum.store(error + r);
  }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
