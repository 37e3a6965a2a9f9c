// The roofs of bench_roofs.h for the benchmarks in Java, so that a row and its limit are measured in one process.
#include "bench_roofs.h"

extern "C" {

NM_API void* nmbench_roofs_create(int32_t threads, int32_t tier) {
  try {
    return new bench::Roofs(threads, tier);
  } catch (...) {
    return nullptr;
  }
}

NM_API void nmbench_roofs_destroy(void* roofs) { delete static_cast<bench::Roofs*>(roofs); }

/** Bytes a second of this traffic over memory[bytes], again and again: the median of samples for so many seconds. */
NM_API double nmbench_rate(void* roofs, int32_t traffic, uint8_t* memory, int64_t bytes, double seconds) {
  return bench::Roofs::median(seconds, [&] {
    return static_cast<bench::Roofs*>(roofs)->rate(static_cast<bench::Traffic>(traffic), memory, bytes);
  });
}

/** Reads memory[bytes] once, for what times it itself. */
NM_API double nmbench_read(void* roofs, uint8_t* memory, int64_t bytes) {
  return static_cast<bench::Roofs*>(roofs)->rate(bench::kRead, memory, bytes);
}

/** Operations a second of fused multiply-adds in registers. */
NM_API double nmbench_fma_rate(void* roofs, double seconds) {
  return bench::Roofs::median(seconds, [&] { return static_cast<bench::Roofs*>(roofs)->rate(bench::kFma); });
}

}  // extern "C"
