#include "norm/norm.h"
namespace nm {
namespace avx2 {
const NormKernels norm = ref::norm;
}
}  // namespace nm
