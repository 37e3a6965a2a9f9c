// The kernel table: which functions serve a tier. A family declares its function pointers in <family>/<family>.h; each
// tier defines one constant of that type in its own namespace (nm::ref, nm::avx2, nm::avx512, nm::neon).
#pragma once

#include <cstdint>

namespace nm {

struct LinearKernels;
struct IntegerKernels;
struct GramTiles;
struct TileKernels;
struct NormKernels;
struct RopeKernels;
struct AttentionKernels;
struct ActivationKernels;
struct SamplingKernels;
struct ConvertKernels;
struct CalibrateKernels;
struct GptqKernels;

struct KernelTable {
  int32_t tier;  // nm_tier
  const LinearKernels* linear;
  const IntegerKernels* integer;  // of linear
  const NormKernels* norm;
  const RopeKernels* rope;
  const AttentionKernels* attention;
  const ActivationKernels* activation;
  const SamplingKernels* sampling;
  const ConvertKernels* convert;
  const CalibrateKernels* calibrate;
  const GptqKernels* gptq;
  const TileKernels* tiles = nullptr;  // of linear, on tiers that have some
  const GramTiles* gram_tiles = nullptr;
};

/** The table of a tier that is compiled in and that this CPU runs. */
const KernelTable& kernel_table(int32_t tier);

}  // namespace nm
