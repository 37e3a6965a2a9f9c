// y[M,N] = x[M,K] . W[N,K]^T (+ bias) (+ residual), over a weight that was packed once (image.h).
//
// In float32 (LinearKernels) each layout has two kernels. `direct` streams the image through registers for a few rows of
// x (decode: bound by memory). `blocked` turns a block of some panels into float32 once, in the L2 cache, and uses it for
// many rows (prefill: bound by FMA). Both sum in the same order, see image.h. Integer weights mostly meet x in integers
// instead (IntegerKernels; TileKernels where there are matrix tiles and many rows), whose sums have no order. So an output
// is equal bit for bit in whatever batch, by however many threads, and on every vector tier.
#pragma once

#include <cstdint>

#include "linear/image.h"
#include "nanomodel.h"

namespace nm {

class Engine;

/** A row of x as integers, in the width and order that its kernel wants. */
struct NarrowRow {
  void* x;       // [columns of the image]
  float* scale;  // [blocks] of the integers
  int32_t* sum;  // [blocks] of the integers, from the first block of the span on
};

/** All rows of x. */
struct Narrow {
  int64_t row_bytes;  // of x
  NarrowRow first;
  NarrowRow row(const Image& image, int64_t r) const {
    return {static_cast<uint8_t*>(first.x) + r * row_bytes, first.scale + r * image.blocks,
            first.sum + r * image.blocks};
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
  Narrow narrow;       // of integer kernels
  int32_t x_most;      // the largest integer: 32767, 127, 7
  bool scale_per_row;  // one scale for a row of x, not one a span
  float* y;            // [M,N]
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
  LinearKernel by_layout[kLayouts];
};

/** The kernel of a weight layout and a width of x, for every M; each runs on one thread. */
struct IntegerKernel {
  const char* name;
  int32_t x_bytes;  // of an element
  /** Brings a row of x, as the caller gave it, into integers. */
  void (*narrow)(const LinearJob& job, int64_t row, const NarrowRow& to);
  /** The rows times the panels of these ranges. */
  void (*product)(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end);
};

constexpr int32_t kIntegerLayouts = kLayouts - kLayoutI8;

/** By layout - kLayoutI8. One without a product is not there: float32 serves. */
struct IntegerKernels {
  IntegerKernel x16[kIntegerLayouts];
  IntegerKernel x8[kIntegerLayouts];  // int8, and int4 one a byte
};

/**
 * Weights times rows of x in matrix tiles. An item of work takes kItemRows rows and kItemPanels panels; it
 * unpacks the weights of two panels and kItemDepth / 64 pieces of at most 64 columns into the first cache and uses them for
 * all its rows. The rows of x of so many columns (512 KB of 16 bits), sums (256 KB) and unfinished int32 sums (256 KB) are
 * to stay in the second cache.
 */
constexpr int64_t kItemRows = 256, kItemPanels = 16, kItemDepth = 1024;
constexpr int64_t kTileWork = 2 * kPanel * kItemDepth + 4 * 1024 + 2 * 4 * kItemRows * kItemPanels * kPanel;  // bytes

struct TileKernel {
  const char* name;
  int32_t x_bytes;
  void (*narrow)(const LinearJob& job, int64_t row, const NarrowRow& to);
  /** begin of the rows is a multiple of kItemRows; work: kTileWork bytes, 64-byte aligned. */
  void (*product)(const LinearJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin, int64_t panel_end,
                  uint8_t* work);
};

/**
 * By layout, as IntegerKernels; up to direct_rows those serve, whose sums are the same. Those of float weights round x and
 * serve every M, so that a row is the same in any batch, but only where an engine is asked for near-exact.
 */
struct TileKernels {
  int64_t direct_rows;
  TileKernel x16[kIntegerLayouts];
  TileKernel x8[kIntegerLayouts];
  TileKernel floats[kLayoutI8];
};

/** What tiles read beyond the last row and column of x, and multiply with zeros or throw away. */
constexpr int64_t kTileSlack = 64, kTileRowsAtOnce = 32;

namespace ref {
extern const LinearKernels linear;  // float64 sums; `direct` for every M
extern const IntegerKernels integer;
}  // namespace ref
namespace avx2 {
extern const LinearKernels linear;
extern const IntegerKernels integer;
}  // namespace avx2
namespace avx2_vnni {
extern const IntegerKernels integer;
}
namespace avx512 {
extern const LinearKernels linear;
extern const IntegerKernels integer;
}  // namespace avx512
namespace avx512_vnni {
extern const IntegerKernels integer;
}
namespace avx512_amx {
extern const TileKernels tiles;
}
namespace neon {
extern const LinearKernels linear;
extern const IntegerKernels integer;
}  // namespace neon
namespace neon_dot {
extern const IntegerKernels integer;
}
namespace neon_i8mm {
extern const IntegerKernels integer;
}

int64_t linear_pack_size(Engine& engine, const nm_weight& weight);
void linear_pack(Engine& engine, const nm_weight& weight, void* image, int64_t bytes);
void linear_query(Engine& engine, const void* image, int64_t bytes, nm_linear_info& info);
/** Of the kernel that serves it on this engine. */
const char* linear_kernel_name(Engine& engine, const Image& image);
void linear(Engine& engine, const nm_linear_args& args);

}  // namespace nm
