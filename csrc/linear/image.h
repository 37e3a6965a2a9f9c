// The packed image of a weight: what nm_linear_pack writes and the kernels read. One image serves every tier.
//
// Rows of W (outputs) are taken 16 at a time: a panel. Inside a panel columns run, and the 16 rows lie side by side, so
// that a vector holds 16 (or 8) outputs and one element of x is broadcast to all of them. N is padded to whole panels
// with zeros.
//
//   f32, f16, bf16   one 16-element line a column
//   i8 (5..8 bits)   one 64-byte line every 4 columns: a 32-bit lane a row, byte j = column j
//   i4 (2..4 bits)   one 64-byte line every 8 columns: a 32-bit lane a row, byte j = column 2j in its low half and
//                    column 2j + 1 in its high half
//
// (Lanes of four neighbouring codes are also what 8-bit dot product instructions want.)
//
// Columns are cut into blocks of at most 256 columns of one group; integer weights sort their columns by group first
// (act-order) and pad a block to whole lines. A block is the unit of arithmetic, the same in every kernel:
//
//   sum = 0;  for columns of the block, in order:  sum = fma(x, q - zero, sum)
//   total = fma(scale, sum, total)                 float weights: sum = fma(x, w, sum); total = total + sum
//
// q - zero is exact in float32, so scales enter once a block and error grows with 256 + blocks instead of with K. Where x
// is rounded to integers, sums are integers instead: linear_integer_simd.h.
// Where columns are sorted or padded the image keeps the map from its columns to those of x (-1: no column, x is 0).
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

constexpr int64_t kPanel = 16;      // rows
constexpr int64_t kMaxBlock = 256;  // columns

enum Layout : int32_t { kLayoutF32, kLayoutF16, kLayoutBf16, kLayoutI8, kLayoutI4, kLayouts };

struct Block {
  int32_t begin, end;  // columns of the image
  int32_t group;       // row of scales and zeros; 0 for float weights
};

/** The first bytes of an image. Offsets are from its start, multiples of 64. */
struct ImageHeader {
  char magic[8];
  uint32_t version;
  int32_t layout;
  int32_t bits;         // of the codes; 0 = float
  int32_t scale_type;   // NM_F16 where every scale is exact in it, else NM_F32
  int32_t act_order;    // columns were sorted
  int32_t mapped;       // there is a column map
  int32_t activations;  // nm_activations that the weight asks for
  int32_t reserved;
  int64_t n, k, groups, blocks;
  int64_t columns;     // K and the padding
  int64_t blocks_at;   // Block[blocks]
  int64_t map_at;      // int32[columns]; 0 when not mapped
  int64_t scales_at;   // scale_type[panels][groups][16]; 0 for float weights
  int64_t zeros_at;    // uint8[panels][groups][16]; 0 for float weights
  int64_t weights_at;  // panel after panel
  int64_t bytes;       // of the whole image
};

/** An image, checked and taken apart. */
struct Image {
  int32_t layout, scale_type, activations;
  int64_t n, k, groups, blocks, columns, panels;
  int64_t panel_bytes;
  const Block* block;
  const int32_t* map;  // or NULL
  const void* scales;
  const uint8_t* zeros;
  const uint8_t* weights;
};

/**
 * Whether sums of int8 products end with a block: a span of blocks of one group, of 2^16 columns at most, adds up to less
 * than 2^16 * 255 * 127 < 2^31.
 */
inline bool ends_span(const Image& image, int64_t block) {
  constexpr int64_t kBlocks = (1 << 16) / kMaxBlock;
  return block + 1 == image.blocks || (block + 1) % kBlocks == 0 ||
         image.block[block + 1].group != image.block[block].group;
}

/** Columns of one 64-byte-per-16-rows step, and its bytes: 1 column for float weights. */
int64_t line_columns(int32_t layout);
int64_t line_bytes(int32_t layout);

/** Fills in magic, version, offsets and bytes from layout, scale_type, mapped, n, groups, blocks and columns. */
void place(ImageHeader& header);

/**
 * Checks everything a kernel relies on, so that a damaged image is an error and never a stray read; costs about a
 * nanosecond a column.
 */
const ImageHeader& check_image(const void* image, int64_t bytes);
Image view_image(const ImageHeader& checked);

}  // namespace nm
