#include "linear/linear_blocked_simd.h"
#include "linear/linear_direct_simd.h"

namespace nm {
namespace neon {

// clang-format off
const LinearKernels linear = {8 /* direct_rows */, kTileRows, arrange,
    {{"linear_f32_neon",  direct<F32>,  blocked<F32>},
     {"linear_f16_neon",  direct<F16>,  blocked<F16>},
     {"linear_bf16_neon", direct<Bf16>, blocked<Bf16>},
     {"linear_i8_neon",   direct<I8>,   blocked<I8>},
     {"linear_i4_neon",   direct<I4>,   blocked<I4>}}};
// clang-format on

}  // namespace neon
}  // namespace nm
