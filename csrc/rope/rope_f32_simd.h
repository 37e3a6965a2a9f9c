// Rotation on vectors: halves as they lie, or interleaved pairs side by side in a vector.
#include "core/simd.h"
#include "rope/rope.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;

void rotate_one(float* a, float* b, float cos, float sin) {
  const float first = *a, second = *b;
  *a = __builtin_fmaf(first, cos, -(second * sin));
  *b = __builtin_fmaf(second, cos, first * sin);
}

void rotate_interleaved(float* x, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
  for (; i + N / 2 <= half; i += N / 2)
    Vec::rotate_pairs(Vec::load(x + 2 * i), Vec::load_twice(cos + i), Vec::load_twice(sin + i)).store(x + 2 * i);
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
