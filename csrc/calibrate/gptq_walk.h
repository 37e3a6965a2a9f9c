// What the column loop is made of. Rows of W do not see each other: a strip of 48 rows, transposed so that a row is a lane,
// walks all columns.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "calibrate/gptq.h"
#include "calibrate/grid.h"

namespace nm {

constexpr int64_t kGptqBlock = 128;    // columns whose sums are brought up together
constexpr int64_t kGptqMaxStrips = 4;  // of one worker at a time; they share what they read of the factor

/** Places begin..end-1 of the order, which share a scale. */
struct GptqRun {
  int64_t begin, end, group;
};

/** What the whole call shares. */
struct GptqJob {
  const nm_gptq_quantize_args& a;
  const nm_codes& out;
  const GptqKernels& kernels;
  std::vector<int64_t> group;    // [K] of each place of the order
  std::vector<GptqRun> runs;     // in order; empty with static groups
  std::vector<GptqRun> natural;  // static groups: columns begin..end-1 of W
  double* row_loss;              // [rows, padded]
  std::atomic<int64_t> first_bad{INT64_MAX};
  std::atomic<bool> stopped{false};

  bool cross() const { return a.cross_factor != nullptr; }
  bool searches() const { return a.refresh != 0 && a.static_groups == 0 && a.mse == 0; }
  float max_code() const { return max_code_of(out.bits, a.sym); }
  Grid grid(float low, float high) const { return grid_of({low, high}, a.sym != 0, max_code()); }
};

/** The memory of one strip of rows; [x][48] means x by x, a row a lane. */
struct GptqLanes {
  int64_t row;    // of lane 0; lanes beyond N hold zeros
  float* w;       // [K8][48] weights; less their codes' values where those are known
  float* v;       // [K8][48] the weights as updated, with cross_factor
  float* sum;     // [K8][48] what quantized columns add
  float* lazy;    // [K8][48] weights as updated, to take a range from
  float* scales;  // [G][48]
  float* inverses;
  float* zeros;
  float* before;  // [group][48] of the group whose range is searched: what the columns before it add
  float* kept;    // [group][48] its weights
  uint8_t* codes;
  double loss[kStrip];
};

inline int64_t padded(int64_t k) { return panels_of(k) * kNarrow; }

/** A few strips of rows on their way through all columns. */
class GptqWalk {
 public:
  GptqWalk(GptqJob& job, float* memory, int64_t strip, int64_t strips);
  void run();
  /** What the memory of one strip takes. */
  static int64_t floats(const GptqJob& job);

 private:
  bool cancelled() const;
  bool load(GptqLanes& l);
  void add(const GptqLanes& l, int64_t begin, int64_t end, int64_t panel, float* to) const;
  void bring(int64_t block, int64_t depth);
  void quantize_panel(GptqLanes& l, int64_t panel, const float* sum, float* loss);
  void store(const GptqLanes& l) const;

  // gptq_ranges.cc
  bool static_scales(GptqLanes& l);
  bool scales_from(int64_t block, int64_t from, size_t first_run, size_t last_run);
  bool fit(GptqLanes& l, const float* w, const GptqRun& run, int64_t column);
  void best_range(const float* w, int64_t count, const float* low, const float* high, float* scale, float* zero) const;
  void search(GptqLanes& l, const float* w, const GptqRun& run, int64_t block);
  void measure(GptqLanes& l, const GptqRun& run, float* loss);

  GptqJob& job_;
  const nm_gptq_quantize_args& a_;
  const int64_t k_, strips_;
  GptqLanes lanes_[kGptqMaxStrips];
  std::vector<int64_t> depth_;  // of each block of columns: the columns whose part is in its sums
};

}  // namespace nm
