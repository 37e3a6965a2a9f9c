#include "calibrate/calibrate_simd.h"

namespace nm {
namespace avx2 {

const CalibrateKernels calibrate = {extent, round, dequantize, forms};

}  // namespace avx2
}  // namespace nm
