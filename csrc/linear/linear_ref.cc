// The oracle: one output after the other, summed in float64, whatever M is.
#include <algorithm>
#include <bit>
#include <cstring>

#include "convert/numbers.h"
#include "linear/linear.h"

namespace nm {
namespace ref {
namespace {

float half(uint16_t h) { return std::bit_cast<float>(numbers::f32_from_f16(h)); }

/** W[row of the panel, column of the image], without the scale; `zero` is that of the column's group. */
float weight(const Image& image, const uint8_t* panel, int64_t column, int64_t row, uint8_t zero) {
  const int64_t at = column * kPanel + row;
  uint16_t wide;
  switch (image.layout) {
    case kLayoutF32: {
      float w;
      std::memcpy(&w, panel + at * 4, sizeof w);
      return w;
    }
    case kLayoutF16:
      std::memcpy(&wide, panel + at * 2, sizeof wide);
      return half(wide);
    case kLayoutBf16:
      std::memcpy(&wide, panel + at * 2, sizeof wide);
      return std::bit_cast<float>(numbers::f32_from_bf16(wide));
    case kLayoutI8:
      return static_cast<float>(panel[column / 4 * 64 + row * 4 + column % 4] - zero);
    default: {
      const int byte = panel[column / 8 * 64 + row * 4 + column % 8 / 2];
      return static_cast<float>((column % 2 == 0 ? byte & 15 : byte >> 4) - zero);
    }
  }
}

float scale(const Image& image, int64_t at) {
  return image.scale_type == NM_F16 ? half(static_cast<const uint16_t*>(image.scales)[at])
                                    : static_cast<const float*>(image.scales)[at];
}

double dot(const Image& image, const float* x, int64_t n) {
  const int64_t panel = n / kPanel, row = n % kPanel;
  const bool integer = image.layout >= kLayoutI8;
  const uint8_t* weights = image.weights + panel * image.panel_bytes;
  double total = 0;
  for (int64_t b = 0; b < image.blocks; b++) {
    const Block& block = image.block[b];
    const int64_t at = (panel * image.groups + block.group) * kPanel + row;
    const uint8_t zero = integer ? image.zeros[at] : uint8_t{0};
    double sum = 0;
    for (int64_t c = block.begin; c < block.end; c++)
      sum += double{x[c]} * double{weight(image, weights, c, row, zero)};
    total += integer ? double{scale(image, at)} * sum : sum;
  }
  return total;
}

void direct(const LinearJob& job, int64_t panel_begin, int64_t panel_end) {
  const int64_t end = std::min(panel_end * kPanel, job.image.n);
  for (int64_t m = 0; m < job.m; m++)
    for (int64_t n = panel_begin * kPanel; n < end; n++) {
      double sum = dot(job.image, job.x + m * job.x_stride, n);
      if (job.bias != nullptr) sum += double{job.bias[n]};
      if (job.residual != nullptr) sum += double{job.residual[m * job.residual_stride + n]};
      job.y[m * job.y_stride + n] = static_cast<float>(sum);
    }
}

}  // namespace

const LinearKernels linear = {INT64_MAX /* direct_rows */,
                              1,
                              nullptr,
                              {{"linear_f32_ref", direct, nullptr},
                               {"linear_f16_ref", direct, nullptr},
                               {"linear_bf16_ref", direct, nullptr},
                               {"linear_i8_ref", direct, nullptr},
                               {"linear_i4_ref", direct, nullptr}}};

}  // namespace ref
}  // namespace nm
