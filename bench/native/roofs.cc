// The roofs of bench_roofs.h for the benchmarks in Java, so that a row and its limit are measured in one process.
#include <algorithm>
#include <vector>

#include "bench_roofs.h"

namespace {

/** The median of several pieces: a mean would tell of the machine's other guests. */
template <class F>
double median_of(int64_t samples, F&& measure) {
  std::vector<double> all(static_cast<size_t>(samples));
  for (double& one : all) one = measure();
  return bench::median(all);
}

}  // namespace

extern "C" {

NM_API void* nmbench_roofs_create(int32_t threads, int32_t tier) {
  try {
    return new bench::Roofs(threads, tier);
  } catch (...) {
    return nullptr;
  }
}

NM_API void nmbench_roofs_destroy(void* roofs) { delete static_cast<bench::Roofs*>(roofs); }

/** Bytes a second of reads of `piece` bytes, taken in turn from memory[bytes]. */
NM_API double nmbench_read_roof(void* roofs, const uint8_t* memory, int64_t bytes, int64_t piece, int64_t samples) {
  const int64_t pieces = std::max<int64_t>(1, bytes / piece);
  int64_t at = 0;
  return 1e9 * median_of(samples, [&] {
           at = (at + 1) % pieces;
           return static_cast<bench::Roofs*>(roofs)->read(memory + at * piece, piece);
         });
}

/** Operations a second of fused multiply-adds in registers, in pieces of `flops`. */
NM_API double nmbench_fma_roof(void* roofs, double flops, int64_t samples) {
  return 1e9 * median_of(samples, [&] { return static_cast<bench::Roofs*>(roofs)->fma(flops); });
}

}  // extern "C"
