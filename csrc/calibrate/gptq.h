// GPTQ (Frantar et al. 2022): Gram matrices, their triangular factor, and the column loop.
//
// The paper walks W column by column with the upper Cholesky factor U of H^-1: e_c = (w_c - q_c) / U_cc, and every later
// column loses e_c U_c. Here H = R R^T, R = U^-1 upper triangular, so that H is never inverted: as E U = W - Q, a column
// as updated is w_c + sum over i < c of (w_i - q_i) R_ic / R_cc. That is Babai's nearest plane algorithm; it costs half of
// the factorization, and each column is one product of what is known instead of a long chain of updates.
#pragma once

#include <cstdint>

#include "calibrate/strips.h"
#include "nanomodel.h"

namespace nm {

class Engine;

/** Eight columns (or `count`, at the end) of 48 rows of W; [8][48] means column by column. */
struct GptqPanel {
  int64_t count;
  const float* factor;          // [8 rows][of a strip] of factor, at the panel's own columns
  const float* cross_factor;    // or NULL
  float* w;                     // [8][48] weights; become w - q
  float* v;                     // [8][48] gets the weights as updated; with cross_factor only
  const float* sum;             // [8][48] what columns before the panel add
  const float* scale[kNarrow];  // [48] of each column's group
  const float* inverse[kNarrow];
  const float* zero[kNarrow];
  const float* pivots;  // [8]
  float max_code;
  uint8_t* codes;  // [8][48]
  float* loss;     // [48] gets the panel's squared errors
};

/** 1 / scale; 0 for a scale that underflowed, so that every code is the zero point and its value 0. */
inline float inverse_of(float scale) { return scale >= 1.17549435e-38f ? 1 / scale : 0.0f; }

/** All strides are kStrip: a and b lie in strips, c is [8][48]. */
struct GptqKernels {
  /** c[m][r] += sum over t of a[t][m] b[t][r], in float32 over 256 rows and in float64 from there on. */
  void (*gram)(const float* a, const float* b, int64_t depth, double* c);
  /** c[m][r] += sum over d of a[d][m] b[d][r]. */
  void (*add)(const float* a, const float* b, int64_t depth, float* c);
  void (*subtract)(const double* a, const double* b, int64_t depth, double* c);
  /** Solves a^T y = c for the upper triangular a[8][8], in place. */
  void (*substitute)(const double* a, double* c);
  /** c[m] += sum over i < m of y[i] a[i][m], y[m] = -c[m]: the weights as updated, less those given. */
  void (*solve)(const float* a, const float* c, float* y);
  void (*quantize)(const GptqPanel& panel);
  /** low[r], high[r] of w[count][48], 0 included. */
  void (*extent)(const float* w, int64_t count, float* low, float* high);
  /** error[r] = sum of |w - its code's value|^power. */
  void (*errors)(const float* w, int64_t count, const float* scale, const float* zero, float max_code, float power,
                 float* error);
};

/** Gram matrices in matrix tiles, whose strips are prepared once for all products. 64-byte aligned. */
struct GramTiles {
  int64_t (*strip_bytes)(int64_t rows);
  void (*prepare)(const float* strip /*[rows][48]*/, int64_t rows, uint8_t* to);
  /** c[m][r] += sum over t of a[t][m] b[t][r], 48 x 48, in the precision of GptqKernels::gram. */
  void (*multiply)(const uint8_t* a, const uint8_t* b, int64_t rows, double* c);
};

namespace ref {
extern const GptqKernels gptq;
}
namespace avx2 {
extern const GptqKernels gptq;
}
namespace avx512 {
extern const GptqKernels gptq;
}
namespace avx512_amx {
extern const GramTiles gram;
}
namespace neon {
extern const GptqKernels gptq;
}

void gram(Engine& engine, const nm_gram_args& args);
void gptq_factor(Engine& engine, const nm_gptq_factor_args& args);
void gptq_quantize(Engine& engine, const nm_gptq_quantize_args& args);

}  // namespace nm
