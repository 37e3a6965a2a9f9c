#include "attention/attention.h"
namespace nm {
namespace avx2 {
const AttentionKernels attention = ref::attention;
}
}  // namespace nm
