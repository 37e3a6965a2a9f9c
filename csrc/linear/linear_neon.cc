#include "linear/linear_blocked_simd.h"
#include "linear/linear_direct_simd.h"
#include "linear/linear_int16_simd.h"

namespace nm {
namespace neon {

// clang-format off
const LinearKernels linear = {8 /* direct_rows */, kTileRows, arrange, narrow,
    {{"linear_f32_neon",  direct<F32>,  blocked<F32>, nullptr},
     {"linear_f16_neon",  direct<F16>,  blocked<F16>, nullptr},
     {"linear_bf16_neon", direct<Bf16>, blocked<Bf16>, nullptr},
     {"linear_i8_neon",   direct<I8>,   blocked<I8>, nullptr},
     {"linear_i4_neon",   nullptr, nullptr, int16}}};
// clang-format on

}  // namespace neon
}  // namespace nm
