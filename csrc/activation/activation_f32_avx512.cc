#include "activation/activation.h"
namespace nm {
namespace avx512 {
const ActivationKernels activation = ref::activation;
}
}  // namespace nm
