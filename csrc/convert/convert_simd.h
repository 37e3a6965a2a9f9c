// Conversions on vectors. What is rare at run time (float64, 8-bit floats to 16 bits) is left to the reference.
#include "convert/convert.h"
#include "convert/tables.h"
#include "core/simd.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;

inline void store_f16(Vec x, uint16_t* y) { x.to_f16(y); }
inline void store_bf16(Vec x, uint16_t* y) { x.to_bf16(y); }

/** y = x through load (n of them, or a whole vector) and store. */
template <class T, class Load, class Store>
void sweep(const T* x, int64_t n, uint16_t* y, Load load, Store store) {
  int64_t i = 0;
  for (; i + N <= n; i += N) store(load(x + i, static_cast<int>(N)), y + i);
  if (i == n) return;
  uint16_t part[N];
  store(load(x + i, static_cast<int>(n - i)), part);
  for (int64_t j = i; j < n; j++) y[j] = part[j - i];
}

inline Vec load_f32(const float* p, int n) { return n == N ? Vec::load(p) : Vec::load(p, n); }
inline Vec load_f16(const uint16_t* p, int n) { return n == N ? Vec::from_f16(p) : Vec::from_f16(p, n); }
inline Vec load_bf16(const uint16_t* p, int n) { return n == N ? Vec::from_bf16(p) : Vec::from_bf16(p, n); }

template <class Load>
void widen(const uint16_t* x, int64_t n, float* y, Load load) {
  int64_t i = 0;
  for (; i + N <= n; i += N) load(x + i, static_cast<int>(N)).store(y + i);
  if (i < n) load(x + i, static_cast<int>(n - i)).store(y + i, static_cast<int>(n - i));
}

void to_f32(int32_t from, const void* x, int64_t n, float* y) {
  if (from == NM_F16) {
    widen(static_cast<const uint16_t*>(x), n, y, load_f16);
  } else if (from == NM_BF16) {
    widen(static_cast<const uint16_t*>(x), n, y, load_bf16);
  } else if (from == NM_F8_E4M3 || from == NM_F8_E5M2) {
    const float* table = from == NM_F8_E4M3 ? numbers::e4m3.value : numbers::e5m2.value;
    for (int64_t i = 0; i < n; i++) y[i] = table[static_cast<const uint8_t*>(x)[i]];
  } else {
    ref::convert.to_f32(from, x, n, y);
  }
}

void to_f16(int32_t from, const void* x, int64_t n, uint16_t* y) {
  if (from == NM_F32)
    sweep(static_cast<const float*>(x), n, y, load_f32, store_f16);
  else if (from == NM_BF16)
    sweep(static_cast<const uint16_t*>(x), n, y, load_bf16, store_f16);
  else
    ref::convert.to_f16(from, x, n, y);
}

void to_bf16(int32_t from, const void* x, int64_t n, uint16_t* y) {
  if (from == NM_F32)
    sweep(static_cast<const float*>(x), n, y, load_f32, store_bf16);
  else if (from == NM_F16)
    sweep(static_cast<const uint16_t*>(x), n, y, load_f16, store_bf16);
  else
    ref::convert.to_bf16(from, x, n, y);
}

}  // namespace

const ConvertKernels convert = {to_f32, to_f16, to_bf16};

}  // namespace NM_TIER
}  // namespace nm
