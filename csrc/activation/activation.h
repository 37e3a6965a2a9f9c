// Activation functions, alone or times a second operand (the gated units of Shazeer 2020).
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** Columns of a work item: a row is cut into pieces of this many, the last one shorter. */
constexpr int64_t kActivationPiece = 2048;

/** Over the items [begin, end) of rows * pieces, on one thread; y may be x or up. */
struct ActivationKernels {
  void (*activate)(const nm_activation_args& args, int64_t begin, int64_t end);
};

namespace ref {
extern const ActivationKernels activation;  // float64, one rounding at the end
}
namespace avx2 {
extern const ActivationKernels activation;
}
namespace avx512 {
extern const ActivationKernels activation;
}
namespace neon {
extern const ActivationKernels activation;
}

void activate(Engine& engine, const nm_activation_args& args);

}  // namespace nm
