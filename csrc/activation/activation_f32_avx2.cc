#include "activation/activation.h"
namespace nm {
namespace avx2 {
const ActivationKernels activation = ref::activation;
}
}  // namespace nm
