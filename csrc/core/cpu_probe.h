// What this CPU and its operating system offer. Compiled without wide flags, so that it runs on any x86-64.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

struct CpuProbe {
  char brand[64];
  char features[192];  // names, "-name" where the OS does not save the registers
  uint32_t tiers;      // bit t: tier t runs here
  int32_t best_tier;
  char no_tiles[160];      // why NM_TIER_AVX512_AMX does not run here
  int32_t affinity_cores;  // that the process may run on
  int32_t logical_cores;   // of these, as many as its cgroup grants time for
};

/** Probed once; never executes what it probes. */
const CpuProbe& cpu_probe();

/** `quota` CPUs' worth of time (0: no limit) on so many cores: rounded up, so that a part of a CPU is used, too. */
int32_t usable_cores(int32_t cores, double quota);

const char* tier_name(int32_t tier);

/** Why a tier does not run here; "" where it does. */
const char* tier_reason(int32_t tier);

/** Bytes of memory in this machine; *available = what a new allocation can count on. 0 where unknown. */
int64_t host_memory(int64_t* available);

}  // namespace nm
