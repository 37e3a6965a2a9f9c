// Attention over the paged KV cache, and writing to it.
//
// The arithmetic of a token's row is fixed by absolute positions alone: a softmax over each segment of 256 positions, and
// segments merged in order (Milakov & Gimelshein 2018). So a row is the same, bit for bit, whatever else is in the batch,
// however a prompt was cut into steps, and however the work was split over threads: either a thread takes all segments of
// a query tile, or each segment alone.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

constexpr int64_t kAttentionSegment = 256;

/** Consecutive tokens of one sequence with the query heads of one KV head: they share each key and value loaded. */
struct AttentionTile {
  int64_t token, tokens;
  int64_t kv_head;
  int64_t rows;  // tokens * query heads per KV head; row = token * group + head
};

/**
 * Functions on one thread. `state` of a tile is rows of (D sums of values, sum of weights, largest score), each
 * attention_state_stride(D) floats.
 */
struct AttentionKernels {
  /** Not NULL: the whole op, over the items [begin, end) of T * H; work holds D doubles. The oracle. */
  void (*direct)(const nm_attention_args& args, int64_t begin, int64_t end, double* work);
  /** state = the merged segments [segment_begin, segment_end) of a tile. */
  void (*attend)(const nm_attention_args& args, const AttentionTile& tile, int64_t segment_begin, int64_t segment_end,
                 float* state, float* work);
  /** state = state, then next. */
  void (*merge)(int64_t rows, int64_t head_dim, float* state, const float* next);
  /** y rows of the tile = sums of values / sum of weights. */
  void (*finish)(const nm_attention_args& args, const AttentionTile& tile, const float* state);
};

/** Floats between two rows of a state: D rounded up to 16, and 16 for the two numbers. */
inline int64_t attention_state_stride(int64_t head_dim) { return (head_dim + 15) / 16 * 16 + 16; }
constexpr int64_t kAttentionSpanFloats = 4;
/**
 * Floats of work memory that `attend` needs: a segment's keys and values, where the cache does not hold them side by side;
 * for each row a segment's state, the query, the weights of a segment and what it sees.
 */
inline int64_t attention_work(int64_t rows, int64_t head_dim) {
  return 2 * kAttentionSegment * head_dim +
         rows * (attention_state_stride(head_dim) + head_dim + kAttentionSegment + kAttentionSpanFloats);
}

namespace ref {
extern const AttentionKernels attention;
}
namespace avx2 {
extern const AttentionKernels attention;
}
namespace avx512 {
extern const AttentionKernels attention;
}
namespace neon {
extern const AttentionKernels attention;
}

void kv_append(Engine& engine, const nm_kv_append_args& args);
void attention(Engine& engine, const nm_attention_args& args);

}  // namespace nm
