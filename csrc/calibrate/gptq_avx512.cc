#include "calibrate/gptq_simd.h"

namespace nm {
namespace avx512 {

const GptqKernels gptq = {gram, add, subtract, substitute, solve, quantize, extent, errors};

}  // namespace avx512
}  // namespace nm
