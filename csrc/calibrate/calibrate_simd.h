// The vector kernels of calibrate; calibrate_avx2.cc and calibrate_avx512.cc include this.
#pragma once

#include "calibrate/calibrate.h"
#include "core/simd.h"

namespace nm {
namespace NM_TIER {
namespace {

/** n <= Vec::N elements. */
inline Vec load(const float* p, int64_t n) { return n == Vec::N ? Vec::load(p) : Vec::load(p, static_cast<int>(n)); }

inline int64_t next(int64_t left) { return left < Vec::N ? left : Vec::N; }

Extent extent(const float* w, int64_t count) {
  Vec low = Vec::zero(), high = Vec::zero(), odd = Vec::zero();
  for (int64_t i = 0; i < count; i += Vec::N) {
    const Vec x = load(w + i, next(count - i));
    low = Vec::min(low, x);
    high = Vec::max(high, x);
    odd = Vec::fma(x, Vec::zero(), odd);  // 0, or NaN once an infinity or a NaN came by
  }
  const float not_finite = odd.sum();
  if (not_finite != 0 || not_finite != not_finite) return {not_finite, not_finite};
  return {-(Vec::zero() - low).largest(), high.largest()};
}

/** Writes n <= Vec::N whole numbers 0..255. */
inline void store_codes(Vec x, uint8_t* codes, int64_t n) {
  uint8_t all[Vec::N];
  x.to_u8(all);
  if (n == Vec::N)
    std::memcpy(codes, all, Vec::N);
  else
    std::memcpy(codes, all, static_cast<size_t>(n));
}

void round(const float* w, int64_t count, float scale, float zero, float max_code, uint8_t* codes) {
  const Vec s = Vec::all(scale), z = Vec::all(zero), low = Vec::all(-zero), high = Vec::all(max_code - zero);
  for (int64_t i = 0; i < count; i += Vec::N) {
    const int64_t n = next(count - i);
    const Vec x = Vec::max(low, Vec::min(high, load(w + i, n) / s));
    store_codes(Vec::round(x) + z, codes + i, n);
  }
}

void dequantize(const uint8_t* codes, int64_t count, float scale, float zero, float* w) {
  const Vec s = Vec::all(scale), z = Vec::all(zero);
  int64_t i = 0;
  for (; i + Vec::N <= count; i += Vec::N) (s * (Vec::from_u8(codes + i) - z)).store(w + i);
  for (; i < count; i++) w[i] = scale * (static_cast<float>(codes[i]) - zero);
}

void forms(const float* g, const float* d, int64_t count, int64_t stride, float* out) {
  Vec total[kForms];
  for (Vec& t : total) t = Vec::zero();
  for (int64_t j = 0; j < count; j += 2 * Vec::N) {
    Vec low[kForms], high[kForms];
    for (int v = 0; v < kForms; v++) low[v] = high[v] = Vec::zero();
    for (int64_t i = 0; i < count; i++) {
      const Vec a = Vec::load(g + i * stride + j), b = Vec::load(g + i * stride + j + Vec::N);
      for (int v = 0; v < kForms; v++) {
        const Vec x = Vec::all(d[v * stride + i]);
        low[v] = Vec::fma(x, a, low[v]);
        high[v] = Vec::fma(x, b, high[v]);
      }
    }
    for (int v = 0; v < kForms; v++) {
      total[v] = Vec::fma(low[v], Vec::load(d + v * stride + j), total[v]);
      total[v] = Vec::fma(high[v], Vec::load(d + v * stride + j + Vec::N), total[v]);
    }
  }
  for (int v = 0; v < kForms; v++) out[v] = total[v].sum();
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
