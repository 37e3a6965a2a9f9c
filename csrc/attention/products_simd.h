// The two products of attention on blocks of registers: R queries (heads of one KV head, and neighbouring tokens) share
// every key and value that is loaded.
//   scores   vectors run along positions, as the cache holds keys: a score is one chain of multiply-adds over D
//   values   vectors run along D: a sum is one chain of multiply-adds over positions
// A chain is the same whatever R and C are, so a row does not depend on what is computed beside it.
#pragma once

#include <cstdint>

#include "core/simd.h"

namespace nm {
namespace NM_TIER {

constexpr int64_t kGroup = 16;                  // positions whose keys lie side by side
constexpr int kQueries = 6;                     // the most rows of a block: accumulators fill the registers
constexpr int kVectors = Vec::N == 16 ? 4 : 2;  // ... and the vectors of a row
constexpr int kGroupVectors = static_cast<int>(kGroup) / Vec::N;
constexpr int kGroups = kVectors / kGroupVectors;  // groups of a block of scores

/**
 * w[r * w_stride + j] = q[., r] . keys[., j] for R rows and G groups; q is [D, R]. Group g has its keys of dimension d at
 * keys[g] + d * stride; `ahead` is what to fetch meanwhile, laid out like it.
 */
template <int R, int G>
void scores(const float* q, const float* const* keys, const float* const* ahead, int64_t stride, int64_t D, float* w,
            int64_t w_stride) {
  constexpr int C = G * kGroupVectors;
  Vec sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = Vec::zero();
  for (int64_t d = 0; d < D; d++, q += R) {
    Vec key[C];
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
#pragma GCC unroll 8
      for (int c = 0; c < kGroupVectors; c++) key[g * kGroupVectors + c] = Vec::load(keys[g] + d * stride + c * Vec::N);
      __builtin_prefetch(ahead[g] + d * kGroup);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Vec x = Vec::all(q[r]);
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sum[r][c] = Vec::fma(x, key[c], sum[r][c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c].store(w + r * w_stride + c * Vec::N);
}

/**
 * sums[r * stride + ...] += w[r * w_stride + j] * values of j for R rows, positions from <= j < to and C vectors from d on:
 * group g has the values of its positions D apart at values[g]. `rest` > 0: the only vector has that many elements.
 */
template <int R, int C>
void add_values(const float* w, int64_t w_stride, const float* const* values, const float* const* ahead, int64_t D,
                int64_t d, int64_t from, int64_t to, float* sums, int64_t stride, int rest) {
  Vec sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = Vec::load(sums + r * stride + d + c * Vec::N);
  for (int64_t j = from; j < to;) {
    const int64_t g = j / kGroup, end = to < g * kGroup + kGroup ? to : g * kGroup + kGroup;
    const float* at = values[g] + j % kGroup * D + d;
    const float* next = ahead[g] + j % kGroup * D + d;
    for (; j < end; j++, at += D, next += D) {
      Vec value[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) value[c] = rest > 0 ? Vec::load(at, rest) : Vec::load(at + c * Vec::N);
#pragma GCC unroll 8
      for (int c = 0; c < C * Vec::N; c += kGroup) __builtin_prefetch(next + c);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Vec f = Vec::all(w[r * w_stride + j]);
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sum[r][c] = Vec::fma(f, value[c], sum[r][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c].store(sums + r * stride + d + c * Vec::N);
}

}  // namespace NM_TIER
}  // namespace nm
