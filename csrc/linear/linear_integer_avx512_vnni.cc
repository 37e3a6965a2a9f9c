#include "linear/linear_int8_simd.h"

namespace nm {
namespace avx512_vnni {

const IntegerKernels integer = {
    {integer_kernel<I8Int16>("linear_i8_i16_avx512_vnni"), integer_kernel<I4Int16>("linear_i4_i16_avx512_vnni")},
    {integer_kernel<I8Int8>("linear_i8_i8_avx512_vnni"), integer_kernel<I4Int8>("linear_i4_i8_avx512_vnni")}};

}  // namespace avx512_vnni
}  // namespace nm
