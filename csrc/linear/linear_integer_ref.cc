// The oracle of integer sums of int8 and int4 activations, one output after the other; int32 as on every tier, so that
// outputs are the same bit for bit. x of 16 bits has no kernel here: the reference is exact (linear_ref.cc).
#include <algorithm>
#include <bit>
#include <cmath>

#include "convert/numbers.h"

#define NM_TIER ref
#include "linear/linear_narrow.h"

namespace nm {
namespace ref {
namespace {

/** Codes of a panel, where image.h says they are. */
struct I8 {
  static int32_t code(const uint8_t* panel, int64_t column, int64_t row) {
    return panel[column / 4 * 64 + row * 4 + column % 4];
  }
};
struct I4 {
  static int32_t code(const uint8_t* panel, int64_t column, int64_t row) {
    return panel[column / 8 * 64 + row * 4 + column % 8 / 2] >> column % 2 * 4 & 15;
  }
};

struct Int8 {
  static constexpr bool kSpans = true;
  using X = int8_t;
  static int32_t narrow(const float* x, int64_t count, float inverse, int8_t* to) {
    int32_t sum = 0;
    for (int64_t c = 0; c < count; c++) {
      to[c] = static_cast<int8_t>(std::nearbyint(x[c] * inverse));
      sum += to[c];
    }
    return sum;
  }
};

float scale(const Image& image, int64_t at) {
  return image.scale_type == NM_F16
             ? std::bit_cast<float>(numbers::f32_from_f16(static_cast<const uint16_t*>(image.scales)[at]))
             : static_cast<const float*>(image.scales)[at];
}

template <class W>
float dot(const Image& image, const NarrowRow& x, int64_t n) {
  const int64_t panel = n / kPanel, row = n % kPanel;
  const uint8_t* codes = image.weights + panel * image.panel_bytes;
  const int8_t* of_x = static_cast<const int8_t*>(x.x);
  float total = 0;
  int32_t sum = 0;
  for (int64_t b = 0; b < image.blocks; b++) {
    const int64_t at = (panel * image.groups + image.block[b].group) * kPanel + row;
    for (int64_t c = image.block[b].begin; c < image.block[b].end; c++)
      sum += (W::code(codes, c, row) - image.zeros[at]) * of_x[c];
    if (!ends_span(image, b)) continue;
    total = std::fma(scale(image, at), static_cast<float>(sum) * x.scale[b], total);
    sum = 0;
  }
  return total;
}

template <class W>
void product(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end) {
  const int64_t end = std::min(panel_end * kPanel, job.image.n);
  for (int64_t m = row_begin; m < row_end; m++)
    for (int64_t n = panel_begin * kPanel; n < end; n++) {
      float y = dot<W>(job.image, job.narrow.row(job.image, m), n);
      if (job.bias != nullptr) y += job.bias[n];
      if (job.residual != nullptr) y += job.residual[m * job.residual_stride + n];
      job.y[m * job.y_stride + n] = y;
    }
}

}  // namespace

const IntegerKernels integer = {
    {}, {{"linear_i8_i8_ref", 1, narrow<Int8>, product<I8>}, {"linear_i4_i8_ref", 1, narrow<Int8>, product<I4>}}};

}  // namespace ref
}  // namespace nm
