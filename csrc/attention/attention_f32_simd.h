// Attention on vectors, one query tile at a time: scores of a key tile, running softmax, weighted sum of values.
//   m' = max(m, max s)   w = exp(s - m')   l = l exp(m - m') + sum w   y = y exp(m - m') + sum w V      (y / l at the end)
// A query touches only the keys and values it may see: what lies behind its position (unwritten memory, another token's
// NaN) cannot reach it. For a row each sum runs over its positions in order, alone or beside other rows alike.
#include "attention/attention.h"
#include "attention/batch.h"
#include "attention/scores_simd.h"
#include "core/simd_math.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;
constexpr int64_t kTile = kAttentionTile;
constexpr int kRows = 4;                   // rows that share a loaded value
constexpr int kColumns = N == 16 ? 4 : 2;  // vectors of a value in flight: accumulators fit the registers

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/** One key tile of a query tile. Positions are relative to the tile's first. */
struct Step {
  int64_t D, stride;  // floats between rows of the state
  float scale;
  const float* keys[kTile];
  const float* values[kTile];
};

/** What a row may see of the key tile: [from, to). */
struct Span {
  int64_t from, to;
};

struct Rows {
  const nm_attention_args& args;
  const AttentionTile& tile;
  int64_t group;

  Rows(const nm_attention_args& a, const AttentionTile& t) : args(a), tile(t), group(a.heads / a.cache->kv_heads) {}
  const float* q(int64_t row) const {
    return args.q + (tile.token + row / group) * args.q_stride +
           (tile.kv_head * group + row % group) * args.cache->head_dim;
  }
  float* y(int64_t row) const {
    return args.y + (tile.token + row / group) * args.y_stride +
           (tile.kv_head * group + row % group) * args.cache->head_dim;
  }
  Span span(int64_t row, int64_t base) const {
    const int64_t p = args.batch->positions[tile.token + row / group];
    const int64_t first = args.window > 0 && p >= args.window ? p - args.window + 1 : 0;
    return {most(first - base, 0), least(p + 1 - base, kTile)};
  }
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

/** Scores of one row against the key tile, then its weights in `w` [kTile]; updates the row's l and m. */
void weigh(const Step& step, const float* q, Span span, float* sums, float* w) {
  const Vec nothing = Vec::all(-__builtin_inff());
  Vec best = nothing;
  for (int64_t j = 0; j < kTile; j += N) {
    if (j + N <= span.from || j >= span.to) {
      nothing.store(w + j);
      continue;
    }
    const float* keys[N];
    for (int64_t i = 0; i < N; i++) keys[i] = step.keys[least(most(j + i, span.from), span.to - 1)];
    (scores(q, keys, step.D) * Vec::all(step.scale)).store(w + j);
    for (int64_t i = j; i < span.from; i++) w[i] = -__builtin_inff();
    for (int64_t i = most(span.to, j); i < j + N; i++) w[i] = -__builtin_inff();
    best = Vec::max(best, Vec::load(w + j));
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
  for (int64_t j = 0; j < kTile; j += N) {
    if (j + N <= span.from || j >= span.to) continue;
    float seen[N];  // a lane that the row may not see weighs nothing, even where m is -inf or NaN
    exp(Vec::load(w + j) - Vec::all(*m)).store(w + j);
    for (int64_t i = 0; i < N; i++) seen[i] = j + i >= span.from && j + i < span.to ? w[j + i] : 0.0f;
    sum = sum + Vec::load(seen);
  }
  *l += sum.sum();
}

/** sums[r][d..] += w[r][j] * values[j][d..] for R rows and C vectors; the last vector holds `rest` elements. */
template <int R, int C>
void add_columns(const Step& step, Span span, const float* w, float* sums, int64_t d, int rest) {
  Vec s[R][C];
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) s[r][c] = Vec::load(sums + r * step.stride + d + c * N);
  for (int64_t j = span.from; j < span.to; j++) {
    const float* value = step.values[j] + d;
    Vec v[C];
    for (int c = 0; c < C - 1; c++) v[c] = Vec::load(value + c * N);
    v[C - 1] = rest == N ? Vec::load(value + (C - 1) * N) : Vec::load(value + (C - 1) * N, rest);
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
  for (; d + kColumns * N <= step.D; d += kColumns * N)
    add_columns<R, kColumns>(step, span, w, sums, d, static_cast<int>(N));
  for (; d < step.D; d += N) add_columns<R, 1>(step, span, w, sums, d, static_cast<int>(least(N, step.D - d)));
}

/** Rows [row, row + R): each alone before and behind what all of them see, together in between. */
template <int R>
void add_rows(const Rows& rows, const Step& step, int64_t row, int64_t base, const float* w, float* sums) {
  Span all = {0, kTile};
  for (int r = 0; r < R; r++) {
    const Span one = rows.span(row + r, base);
    all = {most(all.from, one.from), least(all.to, one.to)};
  }
  if (all.to < all.from) all.to = all.from;
  for (int r = 0; r < R && R > 1; r++) {
    const Span one = rows.span(row + r, base);
    add_values<1>(step, {one.from, least(one.to, all.from)}, w + r * kTile, sums + r * step.stride);
  }
  add_values<R>(step, all, w, sums);
  for (int r = 0; r < R && R > 1; r++) {
    const Span one = rows.span(row + r, base);
    add_values<1>(step, {most(one.from, all.to), one.to}, w + r * kTile, sums + r * step.stride);
  }
}

void key_tile(const Rows& rows, Step& step, int64_t base, float* state, float* w) {
  const nm_batch& batch = *rows.args.batch;
  const nm_kv_cache& cache = *rows.args.cache;
  Span all = {kTile, 0};
  for (int64_t r = 0; r < rows.tile.rows; r += rows.group) {
    const Span one = rows.span(r, base);
    if (one.from < one.to) all = {least(all.from, one.from), most(all.to, one.to)};
  }
  for (int64_t j = all.from; j < all.to; j++) {
    const int64_t at = cache_row(batch, cache, batch.sequence[rows.tile.token], rows.tile.kv_head, base + j);
    step.keys[j] = static_cast<const float*>(cache.keys) + at;
    step.values[j] = static_cast<const float*>(cache.values) + at;
  }
  const int64_t n = rows.tile.rows;
  for (int64_t r = 0; r < n; r++) {
    const Span one = rows.span(r, base);
    if (one.from < one.to) weigh(step, rows.q(r), one, state + r * step.stride, w + r * kTile);
  }
  int64_t r = 0;
  for (; r + kRows <= n; r += kRows) add_rows<kRows>(rows, step, r, base, w + r * kTile, state + r * step.stride);
  for (; r < n; r++) add_rows<1>(rows, step, r, base, w + r * kTile, state + r * step.stride);
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

void attend(const nm_attention_args& args, const AttentionTile& tile, int64_t segment_begin, int64_t segment_end,
            float* state, float* work) {
  const Rows rows(args, tile);
  const int64_t D = args.cache->head_dim, stride = attention_state_stride(D);
  Step step;
  step.D = D;
  step.stride = stride;
  step.scale = args.scale;
  float* w = work + tile.rows * stride;
  for (int64_t segment = segment_begin; segment < segment_end; segment++) {
    float* here = segment == segment_begin ? state : work;
    for (int64_t r = 0; r < tile.rows; r++) {
      float* row = here + r * stride;
      for (int64_t d = 0; d < stride; d += N) Vec::zero().store(row + d);
      row[stride - 15] = -__builtin_inff();
    }
    for (int64_t base = segment * kAttentionSegment; base < (segment + 1) * kAttentionSegment; base += kTile)
      key_tile(rows, step, base, here, w);
    if (here == work) merge(tile.rows, D, state, work);
  }
}

void finish(const nm_attention_args& args, const AttentionTile& tile, const float* state) {
  const Rows rows(args, tile);
  const int64_t D = args.cache->head_dim, stride = attention_state_stride(D);
  for (int64_t r = 0; r < tile.rows; r++, state += stride) {
    const Vec l = Vec::all(state[stride - 16]);
    float* y = rows.y(r);
    int64_t d = 0;
    for (; d + N <= D; d += N) (Vec::load(state + d) / l).store(y + d);
    if (d < D) (Vec::load(state + d) / l).store(y + d, static_cast<int>(D - d));
  }
}

}  // namespace

const AttentionKernels attention = {nullptr, attend, merge, finish};

}  // namespace NM_TIER
}  // namespace nm
