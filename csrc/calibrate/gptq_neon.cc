#include "calibrate/gptq_simd.h"

namespace nm {
namespace neon {

const GptqKernels gptq = {gram, add, subtract, substitute, solve, quantize, extent, errors};

}  // namespace neon
}  // namespace nm
