#include "calibrate/gptq_simd.h"

namespace nm {
namespace avx2 {

const GptqKernels gptq = {gram, add, subtract, substitute, solve, quantize, extent, errors};

}  // namespace avx2
}  // namespace nm
