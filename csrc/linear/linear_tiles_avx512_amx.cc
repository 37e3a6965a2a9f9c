#include "linear/linear_float_tiles_amx.h"
#include "linear/linear_tiles_amx.h"

namespace nm {
namespace avx512_amx {

const TileKernels tiles = {
    8 /* direct_rows */,
    {tile_kernel<X16<TileI8>>("linear_i8_i16_avx512_amx"), tile_kernel<X16<TileI4>>("linear_i4_i16_avx512_amx")},
    {tile_kernel<X8<TileI8>>("linear_i8_i8_avx512_amx"), tile_kernel<X8<TileI4>>("linear_i4_i8_avx512_amx")},
    {float_tile_kernel<F32, 2>("linear_f32_bf16_avx512_amx"), float_tile_kernel<F16, 2>("linear_f16_bf16_avx512_amx"),
     float_tile_kernel<Bf16, 1>("linear_bf16_bf16_avx512_amx")}};

}  // namespace avx512_amx
}  // namespace nm
