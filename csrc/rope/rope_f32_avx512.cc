#include "rope/rope.h"
namespace nm {
namespace avx512 {
const RopeKernels rope = ref::rope;
}
}  // namespace nm
