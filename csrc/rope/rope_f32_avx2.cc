#include "rope/rope.h"
namespace nm {
namespace avx2 {
const RopeKernels rope = ref::rope;
}
}  // namespace nm
