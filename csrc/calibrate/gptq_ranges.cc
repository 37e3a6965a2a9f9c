// Where the scales of a group come from: its range as it is, the range with the least error of its weights, or the range
// with the least loss of its columns.
#include <algorithm>
#include <cmath>

#include "calibrate/gptq_walk.h"

namespace nm {
namespace {

constexpr int kParts = 13;  // of a range that are tried: 1, .95, .. .4
constexpr float kStep = 0.05f;

}  // namespace

/** Scale and zero of one group from w[count][48]; false when a scale is beyond its type. */
bool GptqWalk::fit(GptqLanes& l, const float* w, const GptqRun& run, int64_t column) {
  const int64_t count = run.end - run.begin;
  float low[kStrip], high[kStrip];
  float* const scale = l.scales + run.group * kStrip;
  float* const zero = l.zeros + run.group * kStrip;
  job_.kernels.extent(w, count, low, high);
  for (int64_t r = 0; r < kStrip; r++) {
    const Grid grid = job_.grid(low[r], high[r]);
    scale[r] = rounded(grid.scale, a_.scale_type);
    zero[r] = grid.zero;
    if (!std::isfinite(scale[r])) return keep_first(job_.first_bad, (l.row + r) * k_ + column), false;
  }
  if (a_.mse > 0) best_range(w, count, low, high, scale, zero);
  for (int64_t r = 0; r < kStrip; r++) l.inverses[run.group * kStrip + r] = inverse_of(scale[r]);
  return true;
}

/** The best of ranges from the whole down to a fifth, row by row. */
void GptqWalk::best_range(const float* w, int64_t count, const float* low, const float* high, float* scale,
                          float* zero) const {
  const bool neighbours = job_.out.bits == 2 && a_.sym == 0;
  float best[kStrip];
  std::fill_n(best, kStrip, INFINITY);
  float whole_scale[kStrip], whole_zero[kStrip];
  std::copy_n(scale, kStrip, whole_scale);
  std::copy_n(zero, kStrip, whole_zero);
  for (int step = 0; step < 80; step++)
    for (const float shift : {0.0f, -1.0f, 1.0f}) {
      if (shift != 0 && !neighbours) break;
      const float part = 1 - static_cast<float>(step) / 100;
      float s[kStrip], z[kStrip], error[kStrip];
      for (int64_t r = 0; r < kStrip; r++) {
        const bool empty = low[r] == 0 && high[r] == 0;
        const Grid grid = job_.grid(part * low[r], part * high[r]);
        s[r] = empty ? whole_scale[r] : rounded(grid.scale, a_.scale_type);
        z[r] = empty ? whole_zero[r] : std::clamp(grid.zero + shift, 0.0f, job_.max_code());
      }
      job_.kernels.errors(w, count, s, z, job_.max_code(), a_.mse, error);
      for (int64_t r = 0; r < kStrip; r++)
        if (error[r] < best[r]) best[r] = error[r], scale[r] = s[r], zero[r] = z[r];
    }
}

/** What the codes of a group cost with the scales that it has; its weights are spoiled. */
void GptqWalk::measure(GptqLanes& l, const GptqRun& run, float* loss) {
  std::fill_n(loss, kStrip, 0.0f);
  for (int64_t p = run.begin; p < run.end; p += kNarrow) {
    float sum[kNarrow * kStrip], part[kStrip];
    std::copy_n(l.before + (p - run.begin) * kStrip, kNarrow * kStrip, sum);
    add(l, run.begin, p, p, sum);
    quantize_panel(l, p, sum, part);
    for (int64_t r = 0; r < kStrip; r++) loss[r] += part[r];
  }
}

/**
 * Tries ranges of w[count][48] on the group itself, the later of its columns making up for the errors of the
 * earlier, and keeps what costs each row the least. Groups after it lose nothing: they make up for what is left in any case.
 */
void GptqWalk::search(GptqLanes& l, const float* w, const GptqRun& run, int64_t block) {
  if (run.begin % kNarrow != 0 || (run.end % kNarrow != 0 && run.end != k_)) return;
  const int64_t floats = padded(run.end - run.begin) * kStrip;
  float* const own = l.w + run.begin * kStrip;
  for (int64_t p = run.begin; p < run.end; p += kNarrow) {
    float* const before = l.before + (p - run.begin) * kStrip;
    std::copy_n(l.sum + p * kStrip, kNarrow * kStrip, before);
    add(l, block, run.begin, p, before);
  }
  std::copy_n(own, floats, l.kept);
  float low[kStrip], high[kStrip], part[kStrip], coarse[kStrip], best[kStrip], loss[kStrip];
  float best_scale[kStrip], best_zero[kStrip];
  float* const scale = l.scales + run.group * kStrip;
  float* const zero = l.zeros + run.group * kStrip;
  float* const inverse = l.inverses + run.group * kStrip;
  job_.kernels.extent(w, run.end - run.begin, low, high);
  for (int i = 0; i < kParts + 2; i++) {  // the last two: half a step more and less than each row's best
    if (cancelled()) return;
    for (int64_t r = 0; r < kStrip; r++) {
      part[r] = i < kParts ? 1 - static_cast<float>(i) * kStep : coarse[r] + (i == kParts ? kStep / 2 : -kStep / 2);
      const Grid grid = job_.grid(part[r] * low[r], part[r] * high[r]);
      scale[r] = rounded(grid.scale, a_.scale_type);
      zero[r] = grid.zero;
      inverse[r] = inverse_of(scale[r]);
    }
    measure(l, run, loss);
    std::copy_n(l.kept, floats, own);
    for (int64_t r = 0; r < kStrip; r++) {
      if (i > 0 && !(std::isfinite(scale[r]) && loss[r] < best[r])) continue;
      best[r] = loss[r], best_scale[r] = scale[r], best_zero[r] = zero[r];
      if (i < kParts) coarse[r] = part[r];
    }
  }
  for (int64_t r = 0; r < kStrip; r++) {
    scale[r] = best_scale[r];
    zero[r] = best_zero[r];
    inverse[r] = inverse_of(scale[r]);
  }
}

/** Groups of W as it came, wherever their columns went in the order. */
bool GptqWalk::static_scales(GptqLanes& l) {
  for (int64_t i = 0; i < k_; i++) std::copy_n(l.w + i * kStrip, kStrip, l.lazy + a_.perm[i] * kStrip);
  for (const GptqRun& run : job_.natural)
    if (!fit(l, l.lazy + run.begin * kStrip, run, run.begin)) return false;
  return true;
}

/**
 * Scales of the groups first..last-1, which begin at `from` or later, from the weights as updated by the columns before
 * `from`. Those solve X R = sum over the rest of the triangle: x_c = sum_c - sum over from <= i < c of x_i factor[i,c].
 */
bool GptqWalk::scales_from(int64_t block, int64_t from, size_t first_run, size_t last_run) {
  const int64_t end = job_.runs[last_run - 1].end;
  if (from > 0)
    for (int64_t b = block; b < end; b += kGptqBlock) bring(b, block);
  for (int64_t s = 0; s < strips_; s++) {
    GptqLanes& l = lanes_[s];
    float* const y = l.lazy;  // [end - from][48], first -x, then w + x
    for (int64_t p = from; from > 0 && p < end; p += kNarrow) {
      float sum[kNarrow * kStrip];
      std::copy_n(l.sum + p * kStrip, kNarrow * kStrip, sum);
      add(l, block, from, p, sum);
      if (p > from) job_.kernels.add(at_triangle(a_.factor, from, p), y, p - from, sum);
      job_.kernels.solve(at_triangle(a_.factor, p, p), sum, y + (p - from) * kStrip);
    }
    for (int64_t i = 0; from > 0 && i < (end - from) * kStrip; i++) y[i] = l.w[from * kStrip + i] - y[i];
    for (size_t g = first_run; g < last_run; g++) {
      const GptqRun& run = job_.runs[g];
      const float* w = from > 0 ? y + (run.begin - from) * kStrip : l.w + run.begin * kStrip;
      if (!fit(l, w, run, a_.perm[run.begin])) return false;
      if (job_.searches() && run.begin == from) search(l, w, run, block);
    }
  }
  return true;
}

}  // namespace nm
