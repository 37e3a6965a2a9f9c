#include "attention/attention.h"
namespace nm {
namespace avx512 {
const AttentionKernels attention = ref::attention;
}
}  // namespace nm
