// The oracle: one number after the other, in integer arithmetic.
#include <cstring>

#include "convert/convert.h"
#include "convert/numbers.h"
#include "convert/tables.h"

namespace nm {
namespace ref {
namespace {

uint32_t bits_at(const void* x, int64_t i) { return static_cast<const uint16_t*>(x)[i]; }

/** One number, exactly; a NaN with its payload. */
double load(int32_t from, const void* x, int64_t i) {
  switch (from) {
    case NM_F32:
      return static_cast<const float*>(x)[i];
    case NM_F16:
      return std::bit_cast<float>(numbers::f32_from_f16(bits_at(x, i)));
    case NM_BF16:
      return std::bit_cast<float>(numbers::f32_from_bf16(bits_at(x, i)));
    case NM_F64:
      return static_cast<const double*>(x)[i];
    case NM_F8_E4M3:
      return numbers::e4m3.value[static_cast<const uint8_t*>(x)[i]];
    default:
      return numbers::e5m2.value[static_cast<const uint8_t*>(x)[i]];
  }
}

void to_f32(int32_t from, const void* x, int64_t n, float* y) {
  if (from == NM_F32) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  if (from == NM_BF16) {  // only moved: not even a signalling NaN changes
    uint32_t* bits = reinterpret_cast<uint32_t*>(y);
    for (int64_t i = 0; i < n; i++) bits[i] = numbers::f32_from_bf16(bits_at(x, i));
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<float>(load(from, x, i));
}

void to_f16(int32_t from, const void* x, int64_t n, uint16_t* y) {
  if (from == NM_F16) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(uint16_t));
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<uint16_t>(numbers::f16_from_f64(load(from, x, i)));
}

void to_bf16(int32_t from, const void* x, int64_t n, uint16_t* y) {
  if (from == NM_BF16) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(uint16_t));
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<uint16_t>(numbers::bf16_from_f64(load(from, x, i)));
}

}  // namespace

const ConvertKernels convert = {to_f32, to_f16, to_bf16};

}  // namespace ref
}  // namespace nm
