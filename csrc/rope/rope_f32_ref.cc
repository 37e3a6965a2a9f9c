// The oracle: each pair rotated in float64 and rounded once.
#include "rope/rope.h"

namespace nm {
namespace ref {
namespace {

void rotate(const nm_rope_args& a, int64_t begin, int64_t end) {
  const int64_t apart = a.interleaved != 0 ? 1 : a.half;
  const int64_t step = a.interleaved != 0 ? 2 : 1;
  for (int64_t i = begin; i < end; i++) {
    const int64_t t = i / a.heads, h = i % a.heads;
    float* x = a.x + t * a.x_stride + h * a.head_dim;
    for (int64_t j = 0; j < a.half; j++) {
      const double cos = a.cos[t * a.half + j], sin = a.sin[t * a.half + j];
      const double first = x[step * j], second = x[step * j + apart];
      x[step * j] = static_cast<float>(first * cos - second * sin);
      x[step * j + apart] = static_cast<float>(second * cos + first * sin);
    }
  }
}

}  // namespace

const RopeKernels rope = {rotate};

}  // namespace ref
}  // namespace nm
