// y[M,N] = x[M,K] . W[N,K]^T (+ bias) (+ residual), over a weight that was packed once (image.h).
//
// Weights of 2 to 4 bits meet x in 16 bits, in integer arithmetic: `int16`. Others have two kernels a layout. `direct` streams the image through registers for a few rows of x (decode: bound by
// memory). `blocked` turns a block of some panels into float32 once, in the L2 cache, and uses it for many rows
// (prefill: bound by FMA). Both sum in the same order, see image.h, and integers have none: an output is equal bit for
// bit in whatever batch, by however many threads, and on every vector tier.
#pragma once

#include <cstdint>

#include "linear/image.h"
#include "nanomodel.h"

namespace nm {

class Engine;

/** A row of x, or of several below each other, in 16 bits: linear_int16_simd.h. */
struct NarrowRow {
  int16_t* x16;  // [columns of the image], each eight in the order 0 4 1 5 2 6 3 7
  float* scale;  // [blocks]
  int32_t* sum;  // [blocks], of x16
};

/** All rows of x. */
struct Narrow {
  NarrowRow first;
  NarrowRow row(const Image& image, int64_t r) const {
    return {first.x16 + r * image.columns, first.scale + r * image.blocks, first.sum + r * image.blocks};
  }
};

/** One call, its arguments checked. Rows of x are `columns` of the image wide, in the image's column order. */
struct LinearJob {
  Image image;
  int64_t m;
  /**
   * direct: [M, columns], rows x_stride apart. blocked: block after block of the image, in each tile_rows rows after
   * the other (fewer in the last), in each [width of the block, rows], all without gaps.
   */
  const float* x;
  int64_t x_stride;
  Narrow narrow;  // int16 only
  float* y;       // [M,N]
  int64_t y_stride;
  const float* bias;      // [N] or NULL
  const float* residual;  // [M,N] or NULL; may be y
  int64_t residual_stride;
};

/** The kernels of one weight layout; each runs on one thread. */
struct LinearKernel {
  const char* name;
  /** All M rows, 1..direct_rows of them, times the panels [begin, end). */
  void (*direct)(const LinearJob& job, int64_t panel_begin, int64_t panel_end);
  /**
   * The rows [begin, end), at most kBlockedRows and begin a multiple of it, times at most kBlockedPanels panels. work:
   * kBlockedWork floats, 64-byte aligned.
   */
  void (*blocked)(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
                  float* work);
  /** NULL, or what serves every M in place of the other two: the rows times the panels of these ranges. */
  void (*int16)(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end);
};

/**
 * What a worker holds at once: two panels of a block as float32 (32 KB: the first cache), the rows of x of a block (240
 * KB) and the running sums of the panels (120 KB: the second cache). 240 is a multiple of every tier's tile_rows.
 */
constexpr int64_t kBlockedRows = 240, kBlockedPanels = 8;
constexpr int64_t kBlockedWork = 2 * kPanel * kMaxBlock + (kBlockedPanels + 1) * kPanel * kBlockedRows;

struct LinearKernels {
  int64_t direct_rows;  // up to this M `direct` serves, above `blocked`
  int64_t tile_rows;    // of `blocked`
  /** Brings x into the order of `blocked`: one tile of rows in one block of columns; job.x as for `direct`. */
  void (*arrange)(const LinearJob& job, int64_t block, int64_t tile, float* arranged);
  /** Brings a row of x, as the caller gave it, into 16 bits in one block. */
  void (*narrow)(const LinearJob& job, int64_t row, int64_t block, const NarrowRow& to);
  LinearKernel by_layout[kLayouts];
};

namespace ref {
extern const LinearKernels linear;  // float64 sums; `direct` for every M
}
namespace avx2 {
extern const LinearKernels linear;
}
namespace avx512 {
extern const LinearKernels linear;
}
namespace neon {
extern const LinearKernels linear;
}

int64_t linear_pack_size(Engine& engine, const nm_weight& weight);
void linear_pack(Engine& engine, const nm_weight& weight, void* image, int64_t bytes);
void linear_query(Engine& engine, const void* image, int64_t bytes, nm_linear_info& info);
void linear(Engine& engine, const nm_linear_args& args);

}  // namespace nm
