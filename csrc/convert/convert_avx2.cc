#include "convert/convert.h"
namespace nm {
namespace avx2 {
const ConvertKernels convert = ref::convert;
}
}  // namespace nm
