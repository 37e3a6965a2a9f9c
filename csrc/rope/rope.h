// Rotary position embedding (Su et al. 2021): the table of cosines and sines of a step, and the rotation in place.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** Over the items [begin, end) of t * heads, on one thread. */
struct RopeKernels {
  void (*rotate)(const nm_rope_args& args, int64_t begin, int64_t end);
};

namespace ref {
extern const RopeKernels rope;
}
namespace avx2 {
extern const RopeKernels rope;
}
namespace avx512 {
extern const RopeKernels rope;
}
namespace neon {
extern const RopeKernels rope;
}

/** Once a step, in float64 on every tier: all tiers see the same table. */
void rope_table(Engine& engine, const nm_rope_table_args& args);
void rope(Engine& engine, const nm_rope_args& args);

}  // namespace nm
