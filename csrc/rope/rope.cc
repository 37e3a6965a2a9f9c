#include "rope/rope.h"

#include <cmath>

#include "attention/batch.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkAngles = 1024;       // some 20 us of float64 cosines
constexpr int64_t kChunkElements = 1 << 17;  // some 20 us of rotations

void table_rows(const nm_rope_table_args& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; t++) {
    const float position = static_cast<float>(a.batch->positions[t]);
    for (int64_t i = 0; i < a.half; i++) {
      // Rounded to float32 here, as the reference implementations do: at position 1e5 it moves the angle by 4e-3.
      const float angle = position * a.inv_freq[i];
      a.cos[t * a.half + i] = static_cast<float>(a.scale * std::cos(static_cast<double>(angle)));
      a.sin[t * a.half + i] = static_cast<float>(a.scale * std::sin(static_cast<double>(angle)));
    }
  }
}

}  // namespace

void rope_table(Engine& engine, const nm_rope_table_args& a) {
  const nm_batch& batch = check_positions(a.batch);
  if (!std::isfinite(a.scale))
    fail(NM_ERR_ARGUMENT, "scale: got %g, expected a finite number", static_cast<double>(a.scale));
  check_range("half", a.half, 1, kMaxBytes);
  check_array("inv_freq", a.inv_freq, a.half);
  check_matrix("cos", a.cos, batch.tokens, a.half, a.half);
  check_matrix("sin", a.sin, batch.tokens, a.half, a.half);
  check_array("cancel", a.cancel, 0);
  engine.parallel_for(batch.tokens, kChunkAngles / a.half + 1, a.cancel,
                      [&](int64_t begin, int64_t end, int) { table_rows(a, begin, end); });
}

void rope(Engine& engine, const nm_rope_args& a) {
  check_range("interleaved", a.interleaved, 0, 1);
  check_range("t", a.t, 0, kMaxBytes);
  check_range("heads", a.heads, 1, kMaxBytes);
  check_range("head_dim", a.head_dim, 2, kMaxBytes);
  check_range("half", a.half, 1, a.head_dim / 2);
  if (a.heads > kMaxBytes / a.head_dim)
    fail(NM_ERR_ARGUMENT, "heads: %lld x %lld elements overflow", static_cast<long long>(a.heads),
         static_cast<long long>(a.head_dim));
  check_matrix("x", a.x, a.t, a.heads * a.head_dim, a.x_stride);
  check_matrix("cos", a.cos, a.t, a.half, a.half);
  check_matrix("sin", a.sin, a.t, a.half, a.half);
  check_array("cancel", a.cancel, 0);
  const auto rotate = engine.kernels().rope->rotate;
  engine.parallel_for(a.t * a.heads, kChunkElements / a.half + 1, a.cancel,
                      [&](int64_t begin, int64_t end, int) { rotate(a, begin, end); });
}

}  // namespace nm
