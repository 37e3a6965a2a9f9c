#include "calibrate/calibrate_simd.h"

namespace nm {
namespace avx512 {

const CalibrateKernels calibrate = {extent, round, dequantize};

}  // namespace avx512
}  // namespace nm
