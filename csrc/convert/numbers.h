// One number of each format, in integer arithmetic: constexpr, so that the tables of 8-bit floats are made of it.
#pragma once

#include <bit>
#include <cstdint>

namespace nm {
namespace numbers {

/** IEEE half to float32: exact. A NaN is made quiet. */
constexpr uint32_t f32_from_f16(uint32_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 1023u;
  if (exponent == 31) return sign | 0x7f800000u | mantissa << 13 | (mantissa != 0 ? 0x400000u : 0u);
  if (exponent != 0) return sign | (exponent + 112) << 23 | mantissa << 13;
  if (mantissa == 0) return sign;
  const uint32_t shift = static_cast<uint32_t>(std::countl_zero(mantissa)) - 21;
  return sign | (113 - shift) << 23 | (mantissa << shift & 1023u) << 13;
}

constexpr uint32_t f32_from_bf16(uint32_t h) { return h << 16; }

/** E5M2 is the upper byte of a half. */
constexpr uint32_t f32_from_e5m2(uint32_t x) { return f32_from_f16(x << 8); }

/** E4M3 "fn": bias 7, no infinities, 0x7f and 0xff are NaN. */
constexpr uint32_t f32_from_e4m3(uint32_t x) {
  const uint32_t sign = (x & 0x80u) << 24, exponent = x >> 3 & 15u, mantissa = x & 7u;
  if ((x & 0x7fu) == 0x7fu) return sign | 0x7fc00000u;
  if (exponent != 0) return sign | (exponent + 120) << 23 | mantissa << 20;
  if (mantissa == 0) return sign;
  const uint32_t shift = static_cast<uint32_t>(std::countl_zero(mantissa)) - 28;
  return sign | (121 - shift) << 23 | (mantissa << shift & 7u) << 20;
}

/**
 * float64 bits to a narrower IEEE format with `mantissa_bits` and exponent bias `bias`, half to even. float32 goes
 * through here as well, since it widens to float64 exactly.
 */
constexpr uint32_t narrow(uint64_t x, int mantissa_bits, int bias) {
  const int exponent_bits = mantissa_bits == 23 ? 8 : bias == 15 ? 5 : 8;
  const uint32_t sign = static_cast<uint32_t>(x >> 63) << (mantissa_bits + exponent_bits);
  const uint32_t infinity = ((1u << exponent_bits) - 1u) << mantissa_bits;
  const int wide_exponent = static_cast<int>(x >> 52 & 2047u);
  const uint64_t fraction = x & ((uint64_t{1} << 52) - 1);
  if (wide_exponent == 2047) {
    if (fraction == 0) return sign | infinity;
    return sign | infinity | 1u << (mantissa_bits - 1) | static_cast<uint32_t>(fraction >> (52 - mantissa_bits));
  }
  if (wide_exponent == 0) return sign;  // zero, or a float64 subnormal far below the least number
  const int exponent = wide_exponent - 1023 + bias;
  // A subnormal result keeps fewer bits: shift the significand further, then round as always.
  const int drop = 52 - mantissa_bits + (exponent < 1 ? 1 - exponent : 0);
  if (drop > 54) return sign;
  const uint64_t significand = fraction | uint64_t{1} << 52;
  const uint64_t half = uint64_t{1} << (drop - 1), rest = significand & ((half << 1) - 1);
  uint64_t kept = significand >> drop;
  if (rest > half || (rest == half && (kept & 1u) != 0)) kept++;
  // The hidden bit adds one to the exponent field, and a carry out of the mantissa one more.
  const uint64_t base = exponent < 1 ? 0 : static_cast<uint64_t>(exponent - 1) << mantissa_bits;
  const uint64_t result = base + kept;
  return sign | (result >= infinity ? infinity : static_cast<uint32_t>(result));
}

constexpr uint32_t f16_from_f64(double x) { return narrow(std::bit_cast<uint64_t>(x), 10, 15); }
constexpr uint32_t bf16_from_f64(double x) { return narrow(std::bit_cast<uint64_t>(x), 7, 127); }

}  // namespace numbers
}  // namespace nm
