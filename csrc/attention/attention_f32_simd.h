// Attention on vectors, one query tile at a time, segment by segment: scores of all keys, their softmax, weighted sum of
// values; then the segment joins those before it:
//   m' = max(m, max s)   w = exp(s - m')   l' = l exp(m - m') + sum w   y' = y exp(m - m') + sum w V      (y / l at the end)
// Inside of a segment keys and values are taken 128 positions at a time, which stay in the caches of a core while all rows
// of the tile meet them. A value that a query may not see is not multiplied by zero but left out: unwritten memory or
// another token's NaN cannot reach it.
#include "attention/attention.h"
#include "attention/batch.h"
#include "attention/products_simd.h"
#include "core/simd_math.h"

namespace nm {
namespace NM_TIER {
namespace {

constexpr int64_t N = Vec::N;
constexpr int64_t kSegment = kAttentionSegment;
constexpr int64_t kCached = 128;  // positions that stay in the caches of a core
constexpr int64_t kAhead = 4;     // groups between what is read and what is fetched

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/** Positions relative to the first of a segment. */
struct Span {
  int64_t from, to;

  Span within(int64_t first, int64_t end) const { return {most(from, first), least(to, end)}; }
};

/** The positions that a row sees. */
struct Row {
  int64_t first, end;

  Span span(int64_t base) const { return {most(first - base, 0), least(end - base, kSegment)}; }
};

/** What R rows see, all together and each of them. */
struct Sight {
  Span any = {kSegment, 0}, all = {0, kSegment};

  Sight(const Row* rows, int64_t R, int64_t base) {
    for (int64_t r = 0; r < R; r++) {
      const Span one = rows[r].span(base);
      all = {most(all.from, one.from), least(all.to, one.to)};
      if (one.from < one.to) any = {least(any.from, one.from), most(any.to, one.to)};
    }
  }
};

/** One segment of a query tile, whose rows come in panels of up to `panel`. */
struct Step {
  int64_t D, stride;  // floats between rows of the state
  int64_t panel, base;
  int64_t key_stride;  // floats between dimensions
  const float* keys[kSegment / kGroup];
  const float* values[kSegment / kGroup];
  const float* keys_ahead[kSegment / kGroup];
  const float* values_ahead[kSegment / kGroup];
};

inline float exp_one(float x) {
  float lanes[N];
  exp(Vec::all(x)).store(lanes);
  return lanes[0];
}

/** Lanes j.. of a segment that lie in the span; minus infinity elsewhere. */
inline Vec only(Vec s, int64_t j, Span span) {
  alignas(64) static constexpr float kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const Vec index = Vec::load(kIndex), nothing = Vec::all(-__builtin_inff());
  s = Vec::where_less(index, Vec::all(static_cast<float>(span.from - j)), nothing, s);
  return Vec::where_less(index, Vec::all(static_cast<float>(span.to - j)), s, nothing);
}

/** Copies what is seen of a group, whose positions lie in several blocks, to where it lies side by side. */
void gather(const nm_attention_args& a, const AttentionTile& tile, Span seen, int64_t base, float* keys,
            float* values) {
  const nm_kv_cache& cache = *a.cache;
  const int64_t D = cache.head_dim;
  for (int64_t j = seen.from; j < seen.to; j++) {
    const int64_t at = (base + j) % cache.block_size;
    const int64_t block = cache_block(*a.batch, cache, a.batch->sequence[tile.token], tile.kv_head, base + j);
    const float* key = static_cast<const float*>(cache.keys) + block + at;
    const float* value = static_cast<const float*>(cache.values) + block + at * D;
    for (int64_t d = 0; d < D; d++) keys[d * kGroup + j % kGroup] = key[d * cache.block_size];
    __builtin_memcpy(values + j % kGroup * D, value, static_cast<size_t>(D) * sizeof(float));
  }
}

/** Addresses of the keys and values that are seen, and of what is to be fetched while they are read. */
void find(const nm_attention_args& a, const AttentionTile& tile, Span seen, Step& step, float* gathered) {
  const nm_kv_cache& cache = *a.cache;
  const bool direct = cache.block_size % kGroup == 0;
  step.key_stride = direct ? cache.block_size : kGroup;
  const int64_t begin = seen.from / kGroup, end = (seen.to + kGroup - 1) / kGroup, size = kGroup * step.D;
  for (int64_t g = begin; g < end; g++) {
    const int64_t p = step.base + g * kGroup;
    if (direct) {
      const int64_t block = cache_block(*a.batch, cache, a.batch->sequence[tile.token], tile.kv_head, p);
      step.keys[g] = static_cast<const float*>(cache.keys) + block + p % cache.block_size;
      step.values[g] = static_cast<const float*>(cache.values) + block + p % cache.block_size * step.D;
    } else {
      float* keys = gathered + 2 * g * size;
      gather(a, tile, seen.within(g * kGroup, (g + 1) * kGroup), step.base, keys, keys + size);
      step.keys[g] = keys;
      step.values[g] = keys + size;
    }
  }
  for (int64_t g = begin; g < end; g++) {
    const int64_t next = g + kAhead, behind = begin + next - end;  // keys, then values
    step.keys_ahead[g] = next < end ? step.keys[next] : step.values[least(behind, end - 1)];
    step.values_ahead[g] = step.values[least(next, end - 1)];
  }
}

using ScoresFn = void (*)(const float*, const float* const*, const float* const*, int64_t, int64_t, float*, int64_t);
constexpr ScoresFn kScores[kQueries] = {scores<1, kGroups>, scores<2, kGroups>, scores<3, kGroups>,
                                        scores<4, kGroups>, scores<5, kGroups>, scores<6, kGroups>};
constexpr ScoresFn kGroupScores[kQueries] = {scores<1, 1>, scores<2, 1>, scores<3, 1>,
                                             scores<4, 1>, scores<5, 1>, scores<6, 1>};

/** Raw scores of R rows over the groups that one of them sees; the first rows of a tile fetch what comes next. */
void score(const Step& step, Span span, bool first, int64_t R, const float* q, float* w) {
  const float* const* ahead = first ? step.keys_ahead : step.keys;
  const int64_t end = (span.to + kGroup - 1) / kGroup;
  for (int64_t g = span.from / kGroup; g < end;) {
    const bool full = g + kGroups <= end;
    const ScoresFn fn = full ? kScores[R - 1] : kGroupScores[R - 1];
    fn(q, step.keys + g, ahead + g, step.key_stride, step.D, w + g * kGroup, kSegment);
    g += full ? kGroups : 1;
  }
}

/** Raw scores to weights, in place; their sum, and the largest score. */
void weigh(Span span, float* w, float* sum, float* largest) {
  const int64_t begin = span.from / N * N;
  Vec best = Vec::all(-__builtin_inff());
  for (int64_t j = begin; j < span.to; j += N) {
    Vec s = Vec::load(w + j);
    if (j < span.from || j + N > span.to) {
      s = only(s, j, span);
      s.store(w + j);
    }
    best = Vec::max(best, s);
  }
  *largest = best.largest();
  const Vec top = Vec::all(*largest);
  Vec total = Vec::zero();
  for (int64_t j = begin; j < span.to; j += N) {
    const Vec e = exp(Vec::load(w + j) - top);
    e.store(w + j);
    total = total + e;
  }
  *sum = total.sum();
}

template <int R>
void add_span(const Step& step, Span span, bool first, const float* w, float* sums) {
  const float* const* ahead = first ? step.values_ahead : step.values;
  const int64_t D = step.D;
  int64_t d = 0;
  for (; d + kVectors * N <= D; d += kVectors * N)
    add_values<R, kVectors>(w, kSegment, step.values, ahead, D, d, span.from, span.to, sums, step.stride, 0);
  for (; d < D; d += N)
    add_values<R, 1>(w, kSegment, step.values, ahead, D, d, span.from, span.to, sums, step.stride,
                     d + N <= D ? 0 : static_cast<int>(D - d));
}

using AddFn = void (*)(const Step&, Span, bool, const float*, float*);
constexpr AddFn kAdd[kQueries] = {add_span<1>, add_span<2>, add_span<3>, add_span<4>, add_span<5>, add_span<6>};

/** Each of R rows alone before and behind what all of them see, together in between. */
void add(const Step& step, const Row* rows, int64_t R, Span all, int64_t first, int64_t end, bool prefetch,
         const float* w, float* sums) {
  Span both = all.within(first, end);
  both.to = most(both.to, both.from);
  const auto alone = [&](int64_t from, int64_t to) {
    for (int64_t r = 0; r < R && from < to; r++) {
      const Span one = rows[r].span(step.base).within(from, to);
      if (one.from < one.to) add_span<1>(step, one, false, w + r * kSegment, sums + r * step.stride);
    }
  };
  alone(first, least(both.from, end));
  if (both.from < both.to) kAdd[R - 1](step, both, prefetch, w, sums);
  alone(most(both.to, first), end);
}

/** The state of the segment at step.base. */
void attend_segment(const nm_attention_args& a, const AttentionTile& tile, Step& step, const Row* rows, const float* q,
                    float* w, float* gathered, float* state) {
  const int64_t n = tile.rows;
  for (int64_t r = 0; r < n; r++) {
    float* row = state + r * step.stride;
    for (int64_t d = 0; d < step.stride; d += N) Vec::zero().store(row + d);
    row[step.stride - 15] = -__builtin_inff();
  }
  const Span seen = Sight(rows, n, step.base).any;
  if (seen.from >= seen.to) return;
  find(a, tile, seen, step, gathered);
  for (int64_t c = seen.from / kCached * kCached; c < seen.to; c += kCached)
    for (int64_t r = 0; r < n; r += step.panel) {
      const int64_t R = least(step.panel, n - r);
      score(step, Sight(rows + r, R, step.base).any.within(c, c + kCached), r == 0, R, q + r * step.D,
            w + r * kSegment);
    }
  for (int64_t r = 0; r < n; r++) {
    const Span one = rows[r].span(step.base);
    float* l = state + (r + 1) * step.stride - 16;
    if (one.from < one.to) weigh(one, w + r * kSegment, l, l + 1);
  }
  for (int64_t c = seen.from / kCached * kCached; c < seen.to; c += kCached)
    for (int64_t r = 0; r < n; r += step.panel) {
      const int64_t R = least(step.panel, n - r);
      add(step, rows + r, R, Sight(rows + r, R, step.base).all, c, c + kCached, r == 0, w + r * kSegment,
          state + r * step.stride);
    }
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

/** What each row sees, and its query times the scale: panels of [D, R]. */
void find_rows(const nm_attention_args& a, const AttentionTile& tile, int64_t panel, Row* rows, float* q) {
  const int64_t D = a.cache->head_dim, group = tile.rows / tile.tokens;
  const float* from[kQueries];
  for (int64_t begin = 0; begin < tile.rows; begin += panel) {
    const int64_t R = least(panel, tile.rows - begin);
    for (int64_t i = 0; i < R; i++) {
      const int64_t r = begin + i, t = tile.token + r / group, p = a.batch->positions[t];
      rows[r] = {a.window > 0 && p >= a.window ? p - a.window + 1 : 0, p + 1};
      from[i] = a.q + t * a.q_stride + (tile.kv_head * group + r % group) * D;
    }
    for (int64_t d = 0; d < D; d++)
      for (int64_t i = 0; i < R; i++) *q++ = from[i][d] * a.scale;
  }
}

void attend(const nm_attention_args& a, const AttentionTile& tile, int64_t segment_begin, int64_t segment_end,
            float* state, float* work) {
  static_assert(sizeof(Row) <= kAttentionSpanFloats * sizeof(float));
  const int64_t n = tile.rows, panels = (n + kQueries - 1) / kQueries;
  Step step;
  step.D = a.cache->head_dim;
  step.stride = attention_state_stride(step.D);
  step.panel = (n + panels - 1) / panels;
  float* gathered = work + n * step.stride;
  float* w = gathered + 2 * kSegment * step.D;
  Row* rows = reinterpret_cast<Row*>(w + n * kSegment);
  float* q = w + n * (kSegment + kAttentionSpanFloats);
  find_rows(a, tile, step.panel, rows, q);
  for (int64_t segment = segment_begin; segment < segment_end; segment++) {
    float* here = segment == segment_begin ? state : work;
    step.base = segment * kSegment;
    attend_segment(a, tile, step, rows, q, w, gathered, here);
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
