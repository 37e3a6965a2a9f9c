#include "linear/linear_blocked_simd.h"
#include "linear/linear_direct_simd.h"

namespace nm {
namespace avx2 {

// clang-format off
const LinearKernels linear = {8 /* direct_rows */, kTileRows, arrange,
    {{"linear_f32_avx2",  direct<F32>,  blocked<F32>},
     {"linear_f16_avx2",  direct<F16>,  blocked<F16>},
     {"linear_bf16_avx2", direct<Bf16>, blocked<Bf16>},
     {"linear_i8_avx2",   direct<I8>,   blocked<I8>},
     {"linear_i4_avx2",   direct<I4>,   blocked<I4>}}};
// clang-format on

}  // namespace avx2
}  // namespace nm
