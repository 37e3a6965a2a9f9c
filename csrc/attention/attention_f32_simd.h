// Attention on vectors, one query tile at a time: scores of a key tile, running softmax, weighted sum of values.
//   m' = max(m, max s)   w = exp(s - m')   l = l exp(m - m') + sum w   y = y exp(m - m') + sum w V      (y / l at the end)
// A value that a query may not see is not multiplied by zero but left out: unwritten memory or another token's NaN cannot
// reach it. For a row each sum runs over its positions in order, alone or beside other rows alike.
#include "attention/attention.h"
#include "attention/batch.h"
#include "attention/scores_simd.h"
#include "core/simd_math.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;
constexpr int64_t kTile = kAttentionTile;
constexpr int kScoreRows = N == 16 ? 4 : 2;  // queries that share a loaded key
constexpr int kRows = 4;                     // rows that share a loaded value
constexpr int kColumns = N == 16 ? 4 : 2;    // vectors of a value in flight: accumulators fit the registers

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/** Positions relative to the first of a key tile. */
struct Span {
  int64_t from, to;
};

/** A query and the positions it sees. */
struct Row {
  const float* q;
  int64_t first, end;

  Span span(int64_t base) const { return {most(first - base, 0), least(end - base, kTile)}; }
};

/** One key tile. What no row sees has the address of a neighbour that some row does. */
struct Step {
  int64_t D, stride;  // floats between rows of the state
  float scale;
  int64_t base;
  const float* keys[kTile];
  const float* values[kTile];
};

inline float exp_one(float x) {
  float lanes[N];
  exp(Vec::all(x)).store(lanes);
  return lanes[0];
}

inline void scale_row(float* sums, int64_t D, float by) {
  const Vec f = Vec::all(by);
  for (int64_t d = 0; d < D; d += N) (Vec::load(sums + d) * f).store(sums + d);
}

/** Raw scores of R rows over all that one of them sees, in groups of keys. */
template <int R>
void score_rows(const Step& step, const Row* rows, float* w) {
  constexpr int64_t K = N / R;
  Span any = {kTile, 0};
  const float* q[R];
  for (int r = 0; r < R; r++) {
    const Span one = rows[r].span(step.base);
    any = {least(any.from, one.from), most(any.to, one.to)};
    q[r] = rows[r].q;
  }
  for (int64_t j = any.from / K * K; j < any.to; j += K) scores<R>(q, step.keys + j, step.D, w + j, kTile);
}

/** Lanes j.. of a key tile that lie in the span; minus infinity elsewhere. */
inline Vec only(Vec s, int64_t j, Span span) {
  alignas(64) static constexpr float kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Vec index = Vec::load(kIndex), nothing = Vec::all(-__builtin_inff());
  s = Vec::where_less(index, Vec::all(static_cast<float>(span.from - j)), nothing, s);
  return Vec::where_less(index, Vec::all(static_cast<float>(span.to - j)), s, nothing);
}

/** Raw scores to weights, in place; updates the row's sum of weights l and largest score m. */
void weigh(const Step& step, Span span, float* sums, float* w) {
  const int64_t begin = span.from / N * N;
  Vec best = Vec::all(-__builtin_inff());
  for (int64_t j = begin; j < span.to; j += N) {
    Vec s = Vec::load(w + j) * Vec::all(step.scale);
    if (j < span.from || j + N > span.to) s = only(s, j, span);
    s.store(w + j);
    best = Vec::max(best, s);
  }
  float* l = sums + step.stride - 16;
  float* m = l + 1;
  const float top = best.largest();
  if (top > *m) {
    if (*l != 0.0f) {
      const float shrink = exp_one(*m - top);
      scale_row(sums, step.D, shrink);
      *l *= shrink;
    }
    *m = top;
  }
  Vec sum = Vec::zero();
  const Vec largest = Vec::all(*m);
  for (int64_t j = begin; j < span.to; j += N) {
    const Vec e = exp(Vec::load(w + j) - largest);
    e.store(w + j);
    sum = sum + e;
  }
  *l += sum.sum();
}

/** sums[r][d..] += w[r][j] * values[j][d..] for R rows and C vectors; `part`: the last vector has `rest` elements. */
template <int R, int C, bool part>
void add_columns(const Step& step, Span span, const float* w, float* sums, int64_t d, int rest) {
  Vec s[R][C];
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) s[r][c] = Vec::load(sums + r * step.stride + d + c * N);
  for (int64_t j = span.from; j < span.to; j++) {
    const float* value = step.values[j] + d;
    Vec v[C];
    for (int c = 0; c < C; c++) v[c] = part && c == C - 1 ? Vec::load(value + c * N, rest) : Vec::load(value + c * N);
    for (int r = 0; r < R; r++) {
      const Vec f = Vec::all(w[r * kTile + j]);
      for (int c = 0; c < C; c++) s[r][c] = Vec::fma(f, v[c], s[r][c]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) s[r][c].store(sums + r * step.stride + d + c * N);
}

template <int R>
void add_values(const Step& step, Span span, const float* w, float* sums) {
  if (span.from >= span.to) return;
  int64_t d = 0;
  for (; d + kColumns * N <= step.D; d += kColumns * N) add_columns<R, kColumns, false>(step, span, w, sums, d, 0);
  for (; d + N <= step.D; d += N) add_columns<R, 1, false>(step, span, w, sums, d, 0);
  if (d < step.D) add_columns<R, 1, true>(step, span, w, sums, d, static_cast<int>(step.D - d));
}

/** Each of R rows alone before and behind what all of them see, together in between. */
template <int R>
void add_rows(const Step& step, const Row* rows, const float* w, float* sums) {
  Span all = {0, kTile};
  for (int r = 0; r < R; r++) {
    const Span one = rows[r].span(step.base);
    all = {most(all.from, one.from), least(all.to, one.to)};
  }
  all.to = most(all.to, all.from);
  for (int r = 0; r < R && R > 1; r++) {
    const Span one = rows[r].span(step.base);
    add_values<1>(step, {one.from, least(one.to, all.from)}, w + r * kTile, sums + r * step.stride);
  }
  add_values<R>(step, all, w, sums);
  for (int r = 0; r < R && R > 1; r++) {
    const Span one = rows[r].span(step.base);
    add_values<1>(step, {most(one.from, all.to), one.to}, w + r * kTile, sums + r * step.stride);
  }
}

/** Addresses of the keys and values of positions [from, to) of a tile, block by block. */
void find_keys(const nm_attention_args& a, const AttentionTile& tile, Span seen, Step& step) {
  const nm_kv_cache& cache = *a.cache;
  const int64_t sequence = a.batch->sequence[tile.token];
  for (int64_t j = seen.from, end; j < seen.to; j = end) {
    const int64_t at = cache_row(*a.batch, cache, sequence, tile.kv_head, step.base + j);
    end = least(seen.to, j + cache.block_size - (step.base + j) % cache.block_size);
    for (int64_t i = j; i < end; i++) {
      step.keys[i] = static_cast<const float*>(cache.keys) + at + (i - j) * step.D;
      step.values[i] = static_cast<const float*>(cache.values) + at + (i - j) * step.D;
    }
  }
  for (int64_t j = 0; j < seen.from; j++) step.keys[j] = step.keys[seen.from];
  for (int64_t j = seen.to; j < kTile; j++) step.keys[j] = step.keys[seen.to - 1];
}

/** The tile at step.base, for all rows of a query tile. */
void key_tile(const nm_attention_args& a, const AttentionTile& tile, Step& step, const Row* rows, float* state,
              float* w) {
  const int64_t n = tile.rows;
  Span seen = {kTile, 0};
  for (int64_t r = 0; r < n; r++) {
    const Span one = rows[r].span(step.base);
    if (one.from < one.to) seen = {least(seen.from, one.from), most(seen.to, one.to)};
  }
  if (seen.from >= seen.to) return;
  find_keys(a, tile, seen, step);
  int64_t r = 0;
  for (; r + kScoreRows <= n; r += kScoreRows) score_rows<kScoreRows>(step, rows + r, w + r * kTile);
  for (; r + 2 <= n; r += 2) score_rows<2>(step, rows + r, w + r * kTile);
  for (; r < n; r++) score_rows<1>(step, rows + r, w + r * kTile);
  for (r = 0; r < n; r++) {
    const Span one = rows[r].span(step.base);
    if (one.from < one.to) weigh(step, one, state + r * step.stride, w + r * kTile);
  }
  for (r = 0; r + kRows <= n; r += kRows) add_rows<kRows>(step, rows + r, w + r * kTile, state + r * step.stride);
  const float* w_rest = w + r * kTile;
  float* state_rest = state + r * step.stride;
  if (n - r == 3) add_rows<3>(step, rows + r, w_rest, state_rest);
  if (n - r == 2) add_rows<2>(step, rows + r, w_rest, state_rest);
  if (n - r == 1) add_rows<1>(step, rows + r, w_rest, state_rest);
}

void merge(int64_t rows, int64_t head_dim, float* state, const float* next) {
  const int64_t stride = attention_state_stride(head_dim);
  for (int64_t r = 0; r < rows; r++, state += stride, next += stride) {
    float* l = state + stride - 16;
    const float next_l = next[stride - 16], next_m = next[stride - 15];
    if (next_l == 0.0f) continue;  // the row sees nothing of that segment
    if (*l == 0.0f) {
      __builtin_memcpy(state, next, static_cast<size_t>(stride) * sizeof(float));
      continue;
    }
    const float top = next_m > l[1] ? next_m : l[1];
    const float mine = exp_one(l[1] - top), theirs = exp_one(next_m - top);
    for (int64_t d = 0; d < head_dim; d += N)
      Vec::fma(Vec::load(next + d), Vec::all(theirs), Vec::load(state + d) * Vec::all(mine)).store(state + d);
    l[0] = __builtin_fmaf(next_l, theirs, l[0] * mine);
    l[1] = top;
  }
}

void find_rows(const nm_attention_args& a, const AttentionTile& tile, Row* rows) {
  const int64_t D = a.cache->head_dim, group = tile.rows / tile.tokens;
  for (int64_t t = 0; t < tile.tokens; t++) {
    const int64_t p = a.batch->positions[tile.token + t];
    const float* q = a.q + (tile.token + t) * a.q_stride + tile.kv_head * group * D;
    const int64_t first = a.window > 0 && p >= a.window ? p - a.window + 1 : 0;
    for (int64_t g = 0; g < group; g++) rows[t * group + g] = {q + g * D, first, p + 1};
  }
}

void attend(const nm_attention_args& a, const AttentionTile& tile, int64_t segment_begin, int64_t segment_end,
            float* state, float* work) {
  static_assert(sizeof(Row) <= kAttentionRowFloats * sizeof(float));
  const int64_t n = tile.rows;
  Step step;
  step.D = a.cache->head_dim;
  step.stride = attention_state_stride(step.D);
  step.scale = a.scale;
  float* w = work + n * step.stride;
  Row* rows = reinterpret_cast<Row*>(w + n * kTile);
  find_rows(a, tile, rows);
  for (int64_t segment = segment_begin; segment < segment_end; segment++) {
    float* here = segment == segment_begin ? state : work;
    for (int64_t r = 0; r < n; r++) {
      float* row = here + r * step.stride;
      for (int64_t d = 0; d < step.stride; d += N) Vec::zero().store(row + d);
      row[step.stride - 15] = -__builtin_inff();
    }
    const int64_t end = (segment + 1) * kAttentionSegment;
    for (step.base = segment * kAttentionSegment; step.base < end; step.base += kTile)
      key_tile(a, tile, step, rows, here, w);
    if (here == work) merge(n, step.D, state, work);
  }
}

void finish(const nm_attention_args& a, const AttentionTile& tile, const float* state) {
  const int64_t D = a.cache->head_dim, stride = attention_state_stride(D), group = tile.rows / tile.tokens;
  for (int64_t r = 0; r < tile.rows; r++, state += stride) {
    const Vec l = Vec::all(state[stride - 16]);
    float* y = a.y + (tile.token + r / group) * a.y_stride + (tile.kv_head * group + r % group) * D;
    int64_t d = 0;
    for (; d + N <= D; d += N) (Vec::load(state + d) / l).store(y + d);
    if (d < D) (Vec::load(state + d) / l).store(y + d, static_cast<int>(D - d));
  }
}

}  // namespace

const AttentionKernels attention = {nullptr, attend, merge, finish};

}  // namespace NM_TIER
}  // namespace nm
