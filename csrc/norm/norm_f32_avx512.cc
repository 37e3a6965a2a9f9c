#include "norm/norm.h"
namespace nm {
namespace avx512 {
const NormKernels norm = ref::norm;
}
}  // namespace nm
