#include "convert/convert.h"
namespace nm {
namespace avx512 {
const ConvertKernels convert = ref::convert;
}
}  // namespace nm
