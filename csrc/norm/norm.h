// RMS norm (Zhang & Sennrich 2019) and layer norm (Ba et al. 2016) over the last dimension of x[rows, groups, cols].
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** Functions over the items [begin, end) of rows * groups, on one thread; x and y may be the same. */
struct NormKernels {
  void (*rms)(const nm_norm_args& args, int64_t begin, int64_t end);
  void (*layer)(const nm_norm_args& args, int64_t begin, int64_t end);
};

namespace ref {
extern const NormKernels norm;  // sums in float64, one rounding at the end
}
namespace avx2 {
extern const NormKernels norm;
}
namespace avx512 {
extern const NormKernels norm;
}
namespace neon {
extern const NormKernels norm;
}

/** Weight may be NULL (ones); bias must be. */
void rms_norm(Engine& engine, const nm_norm_args& args);
/** Weight and bias may be NULL. */
void layer_norm(Engine& engine, const nm_norm_args& args);

}  // namespace nm
