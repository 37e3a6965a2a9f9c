#include "linear/linear_blocked_simd.h"
#include "linear/linear_direct_simd.h"

namespace nm {
namespace avx512 {

// clang-format off
const LinearKernels linear = {32 /* direct_rows */, kTileRows, arrange,
    {{"linear_f32_avx512",  direct<F32>,  blocked<F32>},
     {"linear_f16_avx512",  direct<F16>,  blocked<F16>},
     {"linear_bf16_avx512", direct<Bf16>, blocked<Bf16>},
     {"linear_i8_avx512",   direct<I8>,   blocked<I8>},
     {"linear_i4_avx512",   direct<I4>,   blocked<I4>}}};
// clang-format on

}  // namespace avx512
}  // namespace nm
