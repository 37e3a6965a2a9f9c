#include "sampling/sampling.h"
namespace nm {
namespace avx2 {
const SamplingKernels sampling = ref::sampling;
}
}  // namespace nm
