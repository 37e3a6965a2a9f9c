#include "calibrate/calibrate_simd.h"

namespace nm {
namespace neon {

const CalibrateKernels calibrate = {extent, round, dequantize, forms};

}  // namespace neon
}  // namespace nm
