#include "calibrate/calibrate_simd.h"

namespace nm {
namespace avx2 {

const CalibrateKernels calibrate = {extent, round, dequantize};

}  // namespace avx2
}  // namespace nm
