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
  int32_t logical_cores;
};

/** Probed once; never executes what it probes. */
const CpuProbe& cpu_probe();

const char* tier_name(int32_t tier);

/** Bytes of memory in this machine; *available = what a new allocation can count on. 0 where unknown. */
int64_t host_memory(int64_t* available);

}  // namespace nm
