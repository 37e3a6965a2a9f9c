// On x86 CPUID says what the CPU has, XGETBV what the operating system saves; a tier needs both. A feature that the OS
// switched off is listed with a minus sign, so that `doctor` can say why the fast path is off. Linux gives a process the
// tiles of AMX only when it asks; that is done here, once.
#include "core/cpu_probe.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/cgroup.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#include <thread>

namespace nm {
namespace {

int32_t affinity_cores() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n == 0 ? 1 : static_cast<int32_t>(n);
}

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(NM_EMULATE)

void append(CpuProbe& probe, bool cpu, bool os, const char* name) {
  if (!cpu) return;
  const size_t used = std::strlen(probe.features);
  std::snprintf(probe.features + used, sizeof probe.features - used, "%s%s%s", used == 0 ? "" : " ", os ? "" : "-",
                name);
}

#endif

#if defined(__aarch64__) && !defined(NM_EMULATE)

/** The system's own list of features; nothing is executed to find out. NEON belongs to every 64-bit Arm CPU. */
void probe_arm(CpuProbe& probe) {
  std::snprintf(probe.brand, sizeof probe.brand, "Arm");
#if defined(__linux__)
  const unsigned long caps = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
  const bool dot = (caps & HWCAP_ASIMDDP) != 0, i8mm = (more & HWCAP2_I8MM) != 0;
#elif defined(__APPLE__)
  size_t size = sizeof probe.brand;
  sysctlbyname("machdep.cpu.brand_string", probe.brand, &size, nullptr, 0);
  const auto has = [](const char* key) {
    int32_t value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(key, &value, &bytes, nullptr, 0) == 0 && value != 0;
  };
  const bool dot = has("hw.optional.arm.FEAT_DotProd"), i8mm = has("hw.optional.arm.FEAT_I8MM");
#else
  const bool dot = false, i8mm = false;
#endif
  append(probe, true, true, "asimd");
  append(probe, dot, true, "asimddp");
  append(probe, i8mm, true, "i8mm");
  probe.tiers |= 1u << NM_TIER_NEON;
  if (dot) probe.tiers |= 1u << NM_TIER_NEON_DOT;
  if (dot && i8mm) probe.tiers |= 1u << NM_TIER_NEON_I8MM;
}

#endif

#if defined(__x86_64__) && !defined(NM_EMULATE)

uint64_t xgetbv0() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool bit(unsigned word, int index) { return ((word >> index) & 1u) != 0; }

#if defined(__linux__)

/** Asks for the tiles (Linux, "Dynamically enabled XSTATE features"); an older system does not know the question. */
bool ask_for_tiles(CpuProbe& probe) {
  constexpr int kGetPermission = 0x1022, kRequestPermission = 0x1023, kTileData = 18;
  uint64_t granted = 0;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0 ||
      syscall(SYS_arch_prctl, kGetPermission, &granted) != 0) {
    std::snprintf(probe.no_tiles, sizeof probe.no_tiles,
                  "the system refuses this process the tiles of AMX (arch_prctl: %s)", std::strerror(errno));
    return false;
  }
  if ((granted >> kTileData & 1u) == 0)
    std::snprintf(probe.no_tiles, sizeof probe.no_tiles, "the system refuses this process the tiles of AMX");
  return probe.no_tiles[0] == '\0';
}

#else

bool ask_for_tiles(CpuProbe& probe) {
  std::snprintf(probe.no_tiles, sizeof probe.no_tiles, "how to ask this system for the tiles of AMX is not known");
  return false;
}

#endif

/** Eight tiles of 16 rows of 64 bytes: palette 1, as the kernels configure it. */
bool tiles_are_as_expected() {
  unsigned a, b, c, d;
  return __get_cpuid_count(0x1d, 1, &a, &b, &c, &d) != 0 && a >> 16 >= 1024 && (b & 0xffff) >= 64 && b >> 16 >= 8 &&
         (c & 0xffff) >= 16;
}

/** Whether NM_TIER_AVX512_AMX runs; if not, says why. */
bool probe_tiles(CpuProbe& probe, bool vnni, bool cpu, bool system) {
  const char* reason = !cpu                       ? "it has no AMX for int8 and bf16"
                       : !system                  ? "the system does not save the tiles of AMX"
                       : !vnni                    ? "it has AMX, but AVX-512 with VNNI is missing or switched off"
                       : !tiles_are_as_expected() ? "its AMX has other tiles than 8 of 16 rows of 64 bytes"
                                                  : nullptr;
  if (reason == nullptr) return ask_for_tiles(probe);
  std::snprintf(probe.no_tiles, sizeof probe.no_tiles, "%s", reason);
  return false;
}

void probe_x86(CpuProbe& probe) {
  unsigned a, b, c, d;
  unsigned brand[12] = {};
  if (__get_cpuid(0x80000000u, &a, &b, &c, &d) != 0 && a >= 0x80000004u) {
    for (unsigned i = 0; i < 3; i++)
      __get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2], &brand[4 * i + 3]);
    std::memcpy(probe.brand, brand, sizeof brand);
    probe.brand[sizeof brand] = '\0';
    for (size_t n = std::strlen(probe.brand); n > 0 && probe.brand[n - 1] == ' ';) probe.brand[--n] = '\0';
  }
  unsigned c1 = 0, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0) c1 = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    b7 = b;
    c7 = c;
    d7 = d;
    unsigned unused_b, unused_c, unused_d;
    if (a >= 1) __get_cpuid_count(7, 1, &a71, &unused_b, &unused_c, &unused_d);
  }
  const uint64_t saved = bit(c1, 27) ? xgetbv0() : 0;
  const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tile = (saved & 0x60000) == 0x60000;
  struct Feature {
    bool cpu, os;
    const char* name;
  };
  const Feature features[] = {
      {bit(b7, 5), ymm, "avx2"},         {bit(c1, 12), ymm, "fma"},         {bit(c1, 29), ymm, "f16c"},
      {bit(a71, 4), ymm, "avx_vnni"},    {bit(b7, 16), zmm, "avx512f"},     {bit(b7, 30), zmm, "avx512bw"},
      {bit(b7, 31), zmm, "avx512vl"},    {bit(b7, 17), zmm, "avx512dq"},    {bit(c7, 11), zmm, "avx512_vnni"},
      {bit(a71, 5), zmm, "avx512_bf16"}, {bit(d7, 23), zmm, "avx512_fp16"}, {bit(d7, 24), tile, "amx_tile"},
      {bit(d7, 25), tile, "amx_int8"},   {bit(d7, 22), tile, "amx_bf16"}};
  for (const Feature& f : features) append(probe, f.cpu, f.os, f.name);
  const bool avx2 = ymm && bit(b7, 5) && bit(b7, 8) && bit(c1, 12) && bit(c1, 29);
  const bool avx512 = avx2 && zmm && bit(b7, 16) && bit(b7, 30) && bit(b7, 31) && bit(b7, 17);
  if (avx2) probe.tiers |= 1u << NM_TIER_AVX2;
  if (avx2 && bit(a71, 4)) probe.tiers |= 1u << NM_TIER_AVX2_VNNI;
  if (avx512) probe.tiers |= 1u << NM_TIER_AVX512;
  const bool vnni = avx512 && bit(c7, 11);
  if (vnni) probe.tiers |= 1u << NM_TIER_AVX512_VNNI;
  if (probe_tiles(probe, vnni, bit(d7, 24) && bit(d7, 25) && bit(d7, 22), tile))
    probe.tiers |= 1u << NM_TIER_AVX512_AMX;
}

#endif

CpuProbe probe_once() {
  CpuProbe probe = {};
  std::snprintf(probe.brand, sizeof probe.brand, "unknown");
  probe.affinity_cores = affinity_cores();
  probe.logical_cores = usable_cores(probe.affinity_cores, cgroup_cpus(""));
  probe.tiers = 1u << NM_TIER_REFERENCE;
#if defined(NM_EMULATE)  // a build for tests: no tier needs the CPU
  probe.tiers |= ((1u << NM_TIER_NEON) - 1) | 1u << NM_TIER_AVX512_AMX;
  std::snprintf(probe.features, sizeof probe.features, "emulated");
#elif defined(__x86_64__)
  probe_x86(probe);
#elif defined(__aarch64__)
  probe_arm(probe);
#endif
  for (int32_t t = 0; t < NM_TIER_COUNT; t++)
    if ((probe.tiers >> t & 1u) != 0) probe.best_tier = t;
  return probe;
}

}  // namespace

int32_t usable_cores(int32_t cores, double quota) {
  return quota > 0 && quota < cores ? static_cast<int32_t>(std::ceil(quota)) : cores;
}

const CpuProbe& cpu_probe() {
  static const CpuProbe probe = probe_once();
  return probe;
}

const char* tier_name(int32_t tier) {
  switch (tier) {
    case NM_TIER_REFERENCE:
      return "reference";
    case NM_TIER_AVX2:
      return "avx2";
    case NM_TIER_AVX2_VNNI:
      return "avx2_vnni";
    case NM_TIER_AVX512:
      return "avx512";
    case NM_TIER_AVX512_VNNI:
      return "avx512_vnni";
    case NM_TIER_NEON:
      return "neon";
    case NM_TIER_NEON_DOT:
      return "neon_dot";
    case NM_TIER_NEON_I8MM:
      return "neon_i8mm";
    case NM_TIER_AVX512_AMX:
      return "avx512_amx";
    default:
      return nullptr;
  }
}

const char* tier_reason(int32_t tier) {
  const CpuProbe& probe = cpu_probe();
  if ((probe.tiers >> tier & 1u) != 0) return "";
  return tier == NM_TIER_AVX512_AMX && probe.no_tiles[0] != '\0' ? probe.no_tiles
                                                                 : "its instructions are missing or switched off";
}

int64_t host_memory(int64_t* available) {
  int64_t total = 0;
  *available = 0;
#if defined(__linux__)
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (file == nullptr) return 0;
  char line[128];
  long long kib;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "MemTotal: %lld", &kib) == 1) total = kib * 1024;
    if (std::sscanf(line, "MemAvailable: %lld", &kib) == 1) *available = kib * 1024;
  }
  std::fclose(file);
#endif
  return total;
}

}  // namespace nm
