// The rows that a native benchmark prints, and leaves in a file for bench/run.sh.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "bench_roofs.h"

namespace bench {

struct Row {
  std::string name, tier;
  int threads;
  Spread seconds;       // of a call
  double work;          // bytes or floating-point operations of a call
  double limit;         // the least seconds that the work can take
  const char* held_by;  // a traffic_name, or a multiply_name
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
    const bool floats = std::strcmp(r.held_by, "FMA") == 0 || std::strstr(r.held_by, "bf16") != nullptr,
               integers = std::strstr(r.held_by, "int") != nullptr;
    std::printf("%-11s %dT %-44s %10.2f us %8.1f %-7s %4.0f %% of %s\n", r.tier.c_str(), r.threads, r.name.c_str(),
                r.seconds.median * 1e6, r.work / r.seconds.median * 1e-9,
                floats     ? "GFLOP/s"
                : integers ? "GOP/s"
                           : "GB/s",
                100 * r.limit / r.seconds.median, r.held_by);
    std::fflush(stdout);
    if (file_ == nullptr) return;
    std::fprintf(file_, "%s\t%s\t%d\t%.9g\t%.9g\t%.9g\t%.9g\t%s\n", r.name.c_str(), r.tier.c_str(), r.threads,
                 r.seconds.median, r.seconds.least, r.seconds.most, r.limit, r.held_by);
  }

 private:
  std::FILE* file_;
};

/** "1,2,4". */
inline std::vector<int64_t> numbers(const std::string& list) {
  std::vector<int64_t> found;
  for (size_t at = 0; at < list.size(); at = std::min(list.find(',', at), list.size() - 1) + 1)
    found.push_back(std::strtoll(list.c_str() + at, nullptr, 10));
  return found;
}

/** "--name value" pairs into the values that belong to the names; ends the program at a name that is not there. */
inline void parse(int argc, char** argv, const std::map<std::string, std::string*>& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const auto found = options.find(argv[i]);
    if (found == options.end()) {
      std::printf("unknown option %s\n", argv[i]);
      std::exit(2);
    }
    *found->second = argv[i + 1];
  }
}

inline void print_machine() {
  nm_cpu_info cpu = {};
  cpu.struct_size = sizeof cpu;
  nm_cpu_query(&cpu);
  double load = 0;
  if (getloadavg(&load, 1) < 1) load = -1;
  std::printf("%s, %d cores, load %.1f, %s\n", cpu.brand, cpu.logical_cores, load, cpu.features);
}

}  // namespace bench
