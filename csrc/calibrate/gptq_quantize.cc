// The column loop. Rows of W do not see each other: each worker takes a few strips of 48 rows, transposed so that a row
// is a lane, and walks all columns. What the columns before a block of 128 add to it comes from products over slabs that
// stay in the second cache; inside the block, eight columns at a time.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "calibrate/gptq.h"
#include "calibrate/grid.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kBlock = 128;
constexpr int64_t kSlab = 256;
constexpr int64_t kMaxStrips = 4;  // of one worker at a time; they share what they read of the factor

/** Places begin..end-1 of the order, which share a scale. */
struct Run {
  int64_t begin, end, group;
};

/** What the whole call shares. */
struct Job {
  const nm_gptq_quantize_args& a;
  const nm_codes& out;
  const GptqKernels& kernels;
  std::vector<int64_t> group;  // [K] of each place of the order
  std::vector<Run> runs;       // in order; empty with static groups
  std::vector<Run> natural;    // static groups: columns begin..end-1 of W
  double* row_loss;            // [rows, padded]
  std::atomic<int64_t> first_bad{INT64_MAX};
  std::atomic<bool> stopped{false};

  bool cross() const { return a.cross_factor != nullptr; }
  float max_code() const { return max_code_of(out.bits, a.sym); }
};

/** The memory of one strip of rows; [x][48] means x by x, a row a lane. */
struct Lanes {
  int64_t row;    // of lane 0; lanes beyond N hold zeros
  float* w;       // [K8][48] weights; less their codes' values where those are known
  float* v;       // [K8][48] the weights as updated, with cross_factor
  float* sum;     // [K8][48] what quantized columns add
  float* lazy;    // [K8][48] weights as updated, to take a range from
  float* scales;  // [G][48]
  float* inverses;
  float* zeros;
  uint8_t* codes;
  double loss[kStrip];
};

int64_t padded(int64_t k) { return panels_of(k) * kNarrow; }

int64_t lane_floats(const Job& job) {
  const int64_t k = padded(job.out.k) * kStrip;
  return k * (job.cross() ? 4 : 3) + 3 * groups_of(job.out) * kStrip + k / 4;
}

Lanes lanes_at(const Job& job, float* memory, int64_t strip) {
  const int64_t k = padded(job.out.k) * kStrip, groups = groups_of(job.out) * kStrip;
  Lanes l = {};
  l.row = strip * kStrip;
  l.w = memory;
  l.sum = l.w + k;
  l.lazy = l.sum + k;
  l.v = job.cross() ? l.lazy + k : nullptr;
  l.scales = l.lazy + (job.cross() ? 2 * k : k);
  l.inverses = l.scales + groups;
  l.zeros = l.inverses + groups;
  l.codes = reinterpret_cast<uint8_t*>(l.zeros + groups);
  return l;
}

class Walk {
 public:
  Walk(Job& job, float* memory, int64_t strip, int64_t strips) : job_(job), a_(job.a), k_(job.out.k), strips_(strips) {
    for (int64_t s = 0; s < strips; s++) lanes_[s] = lanes_at(job, memory + s * lane_floats(job), strip + s);
    std::fill(depth_.begin(), depth_.end(), 0);
  }
  void run();

 private:
  bool load(Lanes& l);
  bool static_scales(Lanes& l);
  bool scales_from(int64_t block, int64_t from, size_t first_run, size_t last_run);
  bool fit(Lanes& l, const float* w, const Run& run, int64_t column);
  void best_range(const float* w, int64_t count, const float* low, const float* high, float* scale, float* zero) const;
  void bring(int64_t block, int64_t depth);
  void add(const Lanes& l, int64_t begin, int64_t end, int64_t panel, float* to) const;
  void quantize_panel(Lanes& l, int64_t block, int64_t panel);
  void store(const Lanes& l) const;
  bool cancelled() const;

  Job& job_;
  const nm_gptq_quantize_args& a_;
  const int64_t k_, strips_;
  Lanes lanes_[kMaxStrips];
  std::vector<int64_t> depth_ = std::vector<int64_t>(static_cast<size_t>((k_ - 1) / kBlock + 1));
};

bool Walk::cancelled() const {
  if (a_.cancel == nullptr || __atomic_load_n(a_.cancel, __ATOMIC_RELAXED) == 0) return false;
  job_.stopped = true;
  return true;
}

/** Rows of W in the order, transposed; false when one is not finite. */
bool Walk::load(Lanes& l) {
  const int64_t rows = std::min(kStrip, job_.out.n - l.row);
  std::memset(l.w, 0, static_cast<size_t>(padded(k_) * kStrip) * sizeof(float));
  std::memset(l.sum, 0, static_cast<size_t>(padded(k_) * kStrip) * sizeof(float));
  for (int64_t r = 0; r < rows; r++) {
    const float* w = a_.w + (l.row + r) * a_.w_stride;
    for (int64_t i = 0; i < k_; i++) {
      if (!std::isfinite(w[a_.perm[i]])) return keep_first(job_.first_bad, (l.row + r) * k_ + a_.perm[i]), false;
      l.w[i * kStrip + r] = a_.pivots[i] == 0 ? 0.0f : w[a_.perm[i]];
    }
  }
  return true;
}

/** to += what the columns begin..end-1 add to eight columns. */
void Walk::add(const Lanes& l, int64_t begin, int64_t end, int64_t panel, float* to) const {
  if (begin == end) return;
  job_.kernels.add(at_triangle(a_.factor, begin, panel), l.w + begin * kStrip, end - begin, to);
  if (job_.cross()) job_.kernels.add(at_triangle(a_.cross_factor, begin, panel), l.v + begin * kStrip, end - begin, to);
}

/** The sums of a block of columns complete up to a column. */
void Walk::bring(int64_t block, int64_t depth) {
  int64_t& done = depth_[static_cast<size_t>(block / kBlock)];
  const int64_t end = std::min(block + kBlock, padded(k_));
  for (; done < depth; done = std::min(done + kSlab, depth))
    for (int64_t s = 0; s < strips_; s++)
      for (int64_t p = block; p < end; p += kNarrow)
        add(lanes_[s], done, std::min(done + kSlab, depth), p, lanes_[s].sum + p * kStrip);
}

/** Scale and zero of one group from w[count][48]; false when a scale is beyond its type. */
bool Walk::fit(Lanes& l, const float* w, const Run& run, int64_t column) {
  const int64_t count = run.end - run.begin;
  float low[kStrip], high[kStrip];
  float* const scale = l.scales + run.group * kStrip;
  float* const zero = l.zeros + run.group * kStrip;
  job_.kernels.extent(w, count, low, high);
  for (int64_t r = 0; r < kStrip; r++) {
    const Grid grid = grid_of({low[r], high[r]}, a_.sym != 0, job_.max_code());
    scale[r] = rounded(grid.scale, a_.scale_type);
    zero[r] = grid.zero;
    if (!std::isfinite(scale[r])) return keep_first(job_.first_bad, (l.row + r) * k_ + column), false;
  }
  if (a_.mse > 0) best_range(w, count, low, high, scale, zero);
  for (int64_t r = 0; r < kStrip; r++) l.inverses[run.group * kStrip + r] = inverse_of(scale[r]);
  return true;
}

/** The best of ranges from the whole down to a fifth, row by row. */
void Walk::best_range(const float* w, int64_t count, const float* low, const float* high, float* scale,
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
        const Grid grid = grid_of({part * low[r], part * high[r]}, a_.sym != 0, job_.max_code());
        s[r] = empty ? whole_scale[r] : rounded(grid.scale, a_.scale_type);
        z[r] = empty ? whole_zero[r] : std::clamp(grid.zero + shift, 0.0f, job_.max_code());
      }
      job_.kernels.errors(w, count, s, z, job_.max_code(), a_.mse, error);
      for (int64_t r = 0; r < kStrip; r++)
        if (error[r] < best[r]) best[r] = error[r], scale[r] = s[r], zero[r] = z[r];
    }
}

/** Groups of W as it came, wherever their columns went in the order. */
bool Walk::static_scales(Lanes& l) {
  for (int64_t i = 0; i < k_; i++) std::copy_n(l.w + i * kStrip, kStrip, l.lazy + a_.perm[i] * kStrip);
  for (const Run& run : job_.natural)
    if (!fit(l, l.lazy + run.begin * kStrip, run, run.begin)) return false;
  return true;
}

/**
 * Scales of the groups first..last-1, which begin at `from` or later, from the weights as updated by the columns before
 * `from`. Those solve X R = sum over the rest of the triangle: x_c = sum_c - sum over from <= i < c of x_i factor[i,c].
 */
bool Walk::scales_from(int64_t block, int64_t from, size_t first_run, size_t last_run) {
  const int64_t end = job_.runs[last_run - 1].end;
  if (from > 0)
    for (int64_t b = block; b < end; b += kBlock) bring(b, block);
  for (int64_t s = 0; s < strips_; s++) {
    Lanes& l = lanes_[s];
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
      const Run& run = job_.runs[g];
      const float* w = from > 0 ? y + (run.begin - from) * kStrip : l.w + run.begin * kStrip;
      if (!fit(l, w, run, a_.perm[run.begin])) return false;
    }
  }
  return true;
}

void Walk::quantize_panel(Lanes& l, int64_t block, int64_t panel) {
  add(l, block, panel, panel, l.sum + panel * kStrip);
  GptqPanel p = {};
  float loss[kStrip];
  p.count = std::min(kNarrow, k_ - panel);
  p.factor = at_triangle(a_.factor, panel, panel);
  if (job_.cross()) p.cross_factor = at_triangle(a_.cross_factor, panel, panel), p.v = l.v + panel * kStrip;
  p.w = l.w + panel * kStrip;
  p.sum = l.sum + panel * kStrip;
  for (int64_t m = 0; m < p.count; m++) {
    const int64_t g = job_.group[static_cast<size_t>(panel + m)] * kStrip;
    p.scale[m] = l.scales + g;
    p.inverse[m] = l.inverses + g;
    p.zero[m] = l.zeros + g;
  }
  p.pivots = a_.pivots + panel;
  p.max_code = job_.max_code();
  p.codes = l.codes + panel * kStrip;
  p.loss = loss;
  job_.kernels.quantize(p);
  for (int64_t r = 0; r < kStrip; r++) l.loss[r] += double{loss[r]};
}

void Walk::store(const Lanes& l) const {
  const int64_t rows = std::min(kStrip, job_.out.n - l.row);
  const uint8_t shift = shift_of(a_.sym);
  for (int64_t r = 0; r < rows; r++) {
    uint8_t* codes = job_.out.codes + (l.row + r) * k_;
    for (int64_t i = 0; i < k_; i++) codes[a_.perm[i]] = static_cast<uint8_t>(l.codes[i * kStrip + r] + shift);
    job_.row_loss[l.row + r] = l.loss[r];
  }
  for (int64_t g = 0; g < groups_of(job_.out); g++)
    for (int64_t r = 0; r < rows; r++) {
      job_.out.scales[g * job_.out.n + l.row + r] = l.scales[g * kStrip + r];
      job_.out.zeros[g * job_.out.n + l.row + r] =
          static_cast<uint8_t>(static_cast<uint8_t>(l.zeros[g * kStrip + r]) + shift);
    }
}

void Walk::run() {
  for (int64_t s = 0; s < strips_; s++)
    if (!load(lanes_[s]) || (a_.static_groups != 0 && !static_scales(lanes_[s]))) return;
  size_t next = 0;  // the first run whose scales are not known
  for (int64_t block = 0; block < k_; block += kBlock) {
    if (cancelled()) return;
    const int64_t end = std::min(block + kBlock, k_);
    bring(block, block);
    for (int64_t panel = block; panel < end; panel += kNarrow) {
      const int64_t seen = a_.refresh != 0 ? panel : block, until = a_.refresh != 0 ? panel + kNarrow : end;
      size_t last = next;
      while (last < job_.runs.size() && job_.runs[last].begin < until) last++;
      if (last > next && !scales_from(block, seen, next, last)) return;
      next = last;
      for (int64_t s = 0; s < strips_; s++) quantize_panel(lanes_[s], block, panel);
    }
  }
  for (int64_t s = 0; s < strips_; s++) store(lanes_[s]);
}

void check(const nm_gptq_quantize_args& a, const nm_codes& out) {
  check_codes(out);
  check_g_idx(out);
  check_scale_type(a.scale_type);
  check_range("sym", a.sym, 0, 2);
  check_range("static_groups", a.static_groups, 0, 1);
  check_range("refresh", a.refresh, 0, 1);
  if (!(a.mse >= 0 && a.mse <= 16)) fail(NM_ERR_ARGUMENT, "mse: got %g, expected 0..16", static_cast<double>(a.mse));
  check_matrix("w", a.w, out.n, out.k, a.w_stride);
  check_overlaps(out, a.w, a.w_stride);
  check_array("factor", a.factor, triangle(strips_of(out.k)));
  if (a.cross_factor != nullptr) check_array("cross_factor", a.cross_factor, triangle(strips_of(out.k)));
  check_array("pivots", a.pivots, out.k);
  check_array("perm", a.perm, out.k);
  check_array("loss", a.loss, 1);
  check_array("cancel", a.cancel, 0);
  std::vector<bool> seen(static_cast<size_t>(out.k));
  for (int64_t i = 0; i < out.k; i++) {
    check_range("perm", a.perm[i], 0, out.k - 1);
    if (seen[static_cast<size_t>(a.perm[i])]) fail(NM_ERR_ARGUMENT, "perm: %d comes twice", a.perm[i]);
    seen[static_cast<size_t>(a.perm[i])] = true;
  }
}

/** Which group each place of the order has, and where groups begin. */
void fill_groups(Job& job) {
  const nm_codes& out = job.out;
  const auto group_of = [&](int64_t k) { return out.g_idx != nullptr ? out.g_idx[k] : k / out.group_size; };
  std::vector<bool> seen(static_cast<size_t>(groups_of(out)));
  for (int64_t i = 0; i < out.k; i++) {
    const int64_t g = group_of(job.a.perm[i]);
    job.group.push_back(g);
    if (job.a.static_groups != 0) continue;
    if (i > 0 && job.group[static_cast<size_t>(i - 1)] == g) {
      job.runs.back().end = i + 1;
      continue;
    }
    if (seen[static_cast<size_t>(g)])
      fail(NM_ERR_ARGUMENT, "g_idx: columns of group %lld do not follow each other in the order",
           static_cast<long long>(g));
    seen[static_cast<size_t>(g)] = true;
    job.runs.push_back({i, i + 1, g});
  }
  if (job.a.static_groups == 0) return;
  if (out.g_idx != nullptr) fail(NM_ERR_ARGUMENT, "g_idx: expected NULL with static_groups");
  for (int64_t k = 0; k < out.k; k += out.group_size)
    job.natural.push_back({k, std::min(k + out.group_size, out.k), k / out.group_size});
}

}  // namespace

void gptq_quantize(Engine& engine, const nm_gptq_quantize_args& a) {
  const nm_codes& out = check_struct("out", a.out);
  check(a, out);
  const int64_t strips = strips_of(out.n);
  Job job = {a, out, *engine.kernels().gptq, {}, {}, {}, engine.shared_work().get<double>(strips * kStrip)};
  fill_groups(job);
  const int64_t grain = std::clamp<int64_t>(strips / (3 * engine.threads()), 1, kMaxStrips);
  for (int worker = 0; worker < engine.threads(); worker++) engine.work(worker).get<float>(grain * lane_floats(job));
  engine.parallel_for(strips, grain, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    if (job.stopped) return;
    Walk(job, engine.work(worker).get<float>(grain * lane_floats(job)), begin, end - begin).run();
  });
  if (job.stopped) fail(NM_ERR_CANCELLED, "cancelled by the caller");
  if (job.first_bad != INT64_MAX) refuse_weight(a.w, a.w_stride, out.k, a.scale_type, job.first_bad);
  *a.loss = 0;
  for (int64_t n = 0; n < out.n; n++) *a.loss += job.row_loss[n];
}

}  // namespace nm
