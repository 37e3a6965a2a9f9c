// Rotation on vectors: halves as they lie, or interleaved pairs side by side in a vector.
#include "core/simd.h"
#include "rope/rope.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;

/** Each of the N / 2 numbers at p twice, side by side. */
inline Vec load_twice(const float* p) {
#if defined(__AVX512F__)
  const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
#else
  const __m256i pairs = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  return {_mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), pairs)};
#endif
}

/** (a, b) -> (a cos - b sin, b cos + a sin) for pairs side by side. */
inline Vec rotate_pairs(Vec x, Vec cos, Vec sin) {
#if defined(__AVX512F__)
  return {_mm512_fmaddsub_ps(x.v, cos.v, _mm512_mul_ps(_mm512_permute_ps(x.v, 0xb1), sin.v))};
#else
  return {_mm256_fmaddsub_ps(x.v, cos.v, _mm256_mul_ps(_mm256_permute_ps(x.v, 0xb1), sin.v))};
#endif
}

void rotate_one(float* a, float* b, float cos, float sin) {
  const float first = *a, second = *b;
  *a = __builtin_fmaf(first, cos, -(second * sin));
  *b = __builtin_fmaf(second, cos, first * sin);
}

void rotate_interleaved(float* x, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
  for (; i + N / 2 <= half; i += N / 2)
    rotate_pairs(Vec::load(x + 2 * i), load_twice(cos + i), load_twice(sin + i)).store(x + 2 * i);
  for (; i < half; i++) rotate_one(x + 2 * i, x + 2 * i + 1, cos[i], sin[i]);
}

void rotate_halves(float* x, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
  for (; i + N <= half; i += N) {
    const Vec a = Vec::load(x + i), b = Vec::load(x + half + i);
    const Vec c = Vec::load(cos + i), s = Vec::load(sin + i);
    Vec::fma(a, c, Vec::zero() - b * s).store(x + i);
    Vec::fma(b, c, a * s).store(x + half + i);
  }
  for (; i < half; i++) rotate_one(x + i, x + half + i, cos[i], sin[i]);
}

void rotate(const nm_rope_args& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    const int64_t t = i / a.heads, h = i % a.heads;
    float* x = a.x + t * a.x_stride + h * a.head_dim;
    if (a.interleaved != 0)
      rotate_interleaved(x, a.cos + t * a.half, a.sin + t * a.half, a.half);
    else
      rotate_halves(x, a.cos + t * a.half, a.sin + t * a.half, a.half);
  }
}

}  // namespace

const RopeKernels rope = {rotate};

}  // namespace NM_TIER
}  // namespace nm
