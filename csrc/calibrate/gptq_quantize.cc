// The column loop. Rows of W do not see each other: each worker takes a few strips of 48 rows, transposed so that a row
// is a lane, and walks all columns. What the columns before a block of 128 add to it comes from products over slabs that
// stay in the second cache; inside the block, eight columns at a time.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "calibrate/gptq_walk.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kSlab = 256;

int64_t searched_floats(const GptqJob& job) { return job.searches() ? padded(job.out.group_size) * kStrip : 0; }

GptqLanes lanes_at(const GptqJob& job, float* memory, int64_t strip) {
  const int64_t k = padded(job.out.k) * kStrip, groups = groups_of(job.out) * kStrip;
  GptqLanes l = {};
  l.row = strip * kStrip;
  l.w = memory;
  l.sum = l.w + k;
  l.lazy = l.sum + k;
  l.v = job.cross() ? l.lazy + k : nullptr;
  l.scales = l.lazy + (job.cross() ? 2 * k : k);
  l.inverses = l.scales + groups;
  l.zeros = l.inverses + groups;
  l.before = l.zeros + groups;
  l.kept = l.before + searched_floats(job);
  l.codes = reinterpret_cast<uint8_t*>(l.kept + searched_floats(job));
  return l;
}

}  // namespace

int64_t GptqWalk::floats(const GptqJob& job) {
  const int64_t k = padded(job.out.k) * kStrip;
  return k * (job.cross() ? 4 : 3) + 3 * groups_of(job.out) * kStrip + 2 * searched_floats(job) + k / 4;
}

GptqWalk::GptqWalk(GptqJob& job, float* memory, int64_t strip, int64_t strips)
    : job_(job), a_(job.a), k_(job.out.k), strips_(strips), depth_(static_cast<size_t>((k_ - 1) / kGptqBlock + 1)) {
  for (int64_t s = 0; s < strips; s++) lanes_[s] = lanes_at(job, memory + s * floats(job), strip + s);
}

bool GptqWalk::cancelled() const {
  if (a_.cancel == nullptr || __atomic_load_n(a_.cancel, __ATOMIC_RELAXED) == 0) return false;
  job_.stopped = true;
  return true;
}

/** Rows of W in the order, transposed; false when one is not finite. */
bool GptqWalk::load(GptqLanes& l) {
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
void GptqWalk::add(const GptqLanes& l, int64_t begin, int64_t end, int64_t panel, float* to) const {
  if (begin == end) return;
  job_.kernels.add(at_triangle(a_.factor, begin, panel), l.w + begin * kStrip, end - begin, to);
  if (job_.cross()) job_.kernels.add(at_triangle(a_.cross_factor, begin, panel), l.v + begin * kStrip, end - begin, to);
}

/** The sums of a block of columns complete up to a column. */
void GptqWalk::bring(int64_t block, int64_t depth) {
  int64_t& done = depth_[static_cast<size_t>(block / kGptqBlock)];
  const int64_t end = std::min(block + kGptqBlock, padded(k_));
  for (; done < depth; done = std::min(done + kSlab, depth))
    for (int64_t s = 0; s < strips_; s++)
      for (int64_t p = block; p < end; p += kNarrow)
        add(lanes_[s], done, std::min(done + kSlab, depth), p, lanes_[s].sum + p * kStrip);
}

/** Codes of eight columns, to which those before them add `sum`. */
void GptqWalk::quantize_panel(GptqLanes& l, int64_t panel, const float* sum, float* loss) {
  GptqPanel p = {};
  p.count = std::min(kNarrow, k_ - panel);
  p.factor = at_triangle(a_.factor, panel, panel);
  if (job_.cross()) p.cross_factor = at_triangle(a_.cross_factor, panel, panel), p.v = l.v + panel * kStrip;
  p.w = l.w + panel * kStrip;
  p.sum = sum;
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
}

void GptqWalk::store(const GptqLanes& l) const {
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

void GptqWalk::run() {
  for (int64_t s = 0; s < strips_; s++)
    if (!load(lanes_[s]) || (a_.static_groups != 0 && !static_scales(lanes_[s]))) return;
  size_t next = 0;  // the first run whose scales are not known
  for (int64_t block = 0; block < k_; block += kGptqBlock) {
    if (cancelled()) return;
    const int64_t end = std::min(block + kGptqBlock, k_);
    bring(block, block);
    for (int64_t panel = block; panel < end; panel += kNarrow) {
      const int64_t seen = a_.refresh != 0 ? panel : block, until = a_.refresh != 0 ? panel + kNarrow : end;
      size_t last = next;
      while (last < job_.runs.size() && job_.runs[last].begin < until) last++;
      if (last > next && !scales_from(block, seen, next, last)) return;
      next = last;
      for (int64_t s = 0; s < strips_; s++) {
        GptqLanes& l = lanes_[s];
        float* const sum = l.sum + panel * kStrip;
        float loss[kStrip];
        add(l, block, panel, panel, sum);
        quantize_panel(l, panel, sum, loss);
        for (int64_t r = 0; r < kStrip; r++) l.loss[r] += double{loss[r]};
      }
    }
  }
  for (int64_t s = 0; s < strips_; s++) store(lanes_[s]);
}

namespace {

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
void fill_groups(GptqJob& job) {
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
  GptqJob job = {a, out, *engine.kernels().gptq, {}, {}, {}, engine.shared_work().get<double>(strips * kStrip)};
  fill_groups(job);
  const int64_t grain = std::clamp<int64_t>(strips / (3 * engine.threads()), 1, kGptqMaxStrips);
  for (int worker = 0; worker < engine.threads(); worker++)
    engine.work(worker).get<float>(grain * GptqWalk::floats(job));
  engine.parallel_for(strips, grain, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    if (job.stopped) return;
    GptqWalk(job, engine.work(worker).get<float>(grain * GptqWalk::floats(job)), begin, end - begin).run();
  });
  if (job.stopped) fail(NM_ERR_CANCELLED, "cancelled by the caller");
  if (job.first_bad != INT64_MAX) refuse_weight(a.w, a.w_stride, out.k, a.scale_type, job.first_bad);
  *a.loss = 0;
  for (int64_t n = 0; n < out.n; n++) *a.loss += job.row_loss[n];
}

}  // namespace nm
