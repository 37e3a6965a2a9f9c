#include "sampling/sampling.h"
namespace nm {
namespace avx512 {
const SamplingKernels sampling = ref::sampling;
}
}  // namespace nm
