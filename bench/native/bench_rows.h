// The rows that a native benchmark prints, and leaves in a file for bench/run.sh.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "bench_roofs.h"

namespace bench {

struct Row {
  std::string name, tier;
  int threads;
  Spread seconds;       // of a call
  double work;          // bytes or floating-point operations of a call
  double limit;         // the least seconds that the work can take
  const char* held_by;  // a traffic_name, or "FMA"
};

/** `file`: a line a row, tab-separated; NULL = none. */
class Rows {
 public:
  explicit Rows(const char* file) : file_(file == nullptr ? nullptr : std::fopen(file, "a")) {
    if (file != nullptr && file_ == nullptr) {
      std::perror(file);
      std::exit(1);
    }
  }
  ~Rows() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  void add(const Row& r) {
    const bool multiplies = std::strcmp(r.held_by, "FMA") == 0;
    std::printf("%-7s %dT %-44s %10.2f us %8.1f %-7s %4.0f %% of %s\n", r.tier.c_str(), r.threads, r.name.c_str(),
                r.seconds.median * 1e6, r.work / r.seconds.median * 1e-9, multiplies ? "GFLOP/s" : "GB/s",
                100 * r.limit / r.seconds.median, r.held_by);
    std::fflush(stdout);
    if (file_ == nullptr) return;
    std::fprintf(file_, "%s\t%s\t%d\t%.9g\t%.9g\t%.9g\t%.9g\t%s\n", r.name.c_str(), r.tier.c_str(), r.threads,
                 r.seconds.median, r.seconds.least, r.seconds.most, r.limit, r.held_by);
  }

 private:
  std::FILE* file_;
};

}  // namespace bench
