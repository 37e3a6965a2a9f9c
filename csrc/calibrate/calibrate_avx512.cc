#include "calibrate/calibrate_simd.h"

namespace nm {
namespace avx512 {

const CalibrateKernels calibrate = {extent, round, dequantize, forms};

}  // namespace avx512
}  // namespace nm
