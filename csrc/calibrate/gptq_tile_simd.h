// The tile that GPTQ is made of: c[8][48] += a^T b, with a and b in strips. Nothing is packed: of a, eight neighbours are
// broadcast one by one; of b, a row of 48 is three vectors of AVX-512 (24 sums in registers), or on AVX2 four of the eight
// rows meet half of it at a time (12 sums).
#pragma once

#include "calibrate/gptq.h"
#include "core/simd.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int kTileRows = Vec::N == 16 ? 8 : 4;
constexpr int kTileVecs = 3;

/** sum[m][j] += a[d][m] b[d][j], d < depth. */
inline void multiply(Vec (&sum)[kTileRows][kTileVecs], const float* a, const float* b, int64_t depth) {
  for (int64_t d = 0; d < depth; d++, a += kStrip, b += kStrip) {
    Vec x[kTileVecs];
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; j++) x[j].v = Vec::load(b + j * Vec::N).v;
#pragma GCC unroll 8
    for (int m = 0; m < kTileRows; m++) {
      const Vec broadcast = Vec::all(a[m]);
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; j++) sum[m][j].v = Vec::fma(broadcast, x[j], sum[m][j]).v;
    }
  }
}

void add(const float* a, const float* b, int64_t depth, float* c) {
  for (int64_t m0 = 0; m0 < kNarrow; m0 += kTileRows)
    for (int64_t r0 = 0; r0 < kStrip; r0 += kTileVecs * Vec::N) {
      float* const to = c + m0 * kStrip + r0;
      Vec sum[kTileRows][kTileVecs];
#pragma GCC unroll 8
      for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
        for (int j = 0; j < kTileVecs; j++) sum[m][j].v = Vec::load(to + m * kStrip + j * Vec::N).v;
      multiply(sum, a + m0, b + r0, depth);
#pragma GCC unroll 8
      for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
        for (int j = 0; j < kTileVecs; j++) sum[m][j].store(to + m * kStrip + j * Vec::N);
    }
}

constexpr int64_t kGramRows = 256;

void gram(const float* a, const float* b, int64_t depth, double* c) {
  // c comes from memory: it is asked for now and needed 256 rows later.
  for (int64_t i = 0; i < kNarrow * kStrip; i += 8) __builtin_prefetch(c + i, 1);
  for (int64_t m0 = 0; m0 < kNarrow; m0 += kTileRows)
    for (int64_t r0 = 0; r0 < kStrip; r0 += kTileVecs * Vec::N)
      for (int64_t t = 0; t < depth; t += kGramRows) {
        Vec sum[kTileRows][kTileVecs];
#pragma GCC unroll 8
        for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
          for (int j = 0; j < kTileVecs; j++) sum[m][j].v = Vec::zero().v;
        const int64_t left = depth - t;
        multiply(sum, a + t * kStrip + m0, b + t * kStrip + r0, left < kGramRows ? left : kGramRows);
        __asm__ volatile("" : : "r"(c) : "memory");  // else the compiler would load all of c before the loop
#pragma GCC unroll 8
        for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
          for (int j = 0; j < kTileVecs; j++) {
            double* to = c + (m0 + m) * kStrip + r0 + j * Vec::N;
            (Vec64::load(to) + Vec64::low(sum[m][j])).store(to);
            (Vec64::load(to + Vec64::N) + Vec64::high(sum[m][j])).store(to + Vec64::N);
          }
      }
}

void subtract(const double* a, const double* b, int64_t depth, double* c) {
  for (int64_t m0 = 0; m0 < kNarrow; m0 += kTileRows)
    for (int64_t r0 = 0; r0 < kStrip; r0 += kTileVecs * Vec64::N) {
      double* const to = c + m0 * kStrip + r0;
      Vec64 sum[kTileRows][kTileVecs];
#pragma GCC unroll 8
      for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
        for (int j = 0; j < kTileVecs; j++) sum[m][j].v = Vec64::load(to + m * kStrip + j * Vec64::N).v;
      const double *x = a + m0, *y = b + r0;
      for (int64_t d = 0; d < depth; d++, x += kStrip, y += kStrip) {
        Vec64 row[kTileVecs];
#pragma GCC unroll 8
        for (int j = 0; j < kTileVecs; j++) row[j].v = Vec64::load(y + j * Vec64::N).v;
#pragma GCC unroll 8
        for (int m = 0; m < kTileRows; m++) {
          const Vec64 broadcast = Vec64::all(x[m]);
#pragma GCC unroll 8
          for (int j = 0; j < kTileVecs; j++) sum[m][j].v = Vec64::subtract_product(broadcast, row[j], sum[m][j]).v;
        }
      }
#pragma GCC unroll 8
      for (int m = 0; m < kTileRows; m++)
#pragma GCC unroll 8
        for (int j = 0; j < kTileVecs; j++) sum[m][j].store(to + m * kStrip + j * Vec64::N);
    }
}

void substitute(const double* a, double* c) {
  for (int64_t r = 0; r < kStrip; r += Vec64::N) {
    Vec64 y[kNarrow];
#pragma GCC unroll 8
    for (int m = 0; m < kNarrow; m++) {
      y[m].v = Vec64::load(c + m * kStrip + r).v;
#pragma GCC unroll 8
      for (int i = 0; i < m; i++) y[m].v = Vec64::subtract_product(Vec64::all(a[i * kStrip + m]), y[i], y[m]).v;
      y[m].v = (y[m] / Vec64::all(a[m * kStrip + m])).v;
      y[m].store(c + m * kStrip + r);
    }
  }
}

}  // namespace
}  // namespace NM_TIER
}  // namespace nm
