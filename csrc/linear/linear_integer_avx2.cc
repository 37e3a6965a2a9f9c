#include "linear/linear_int8_simd.h"

namespace nm {
namespace avx2 {

const IntegerKernels integer = {
    {integer_kernel<I8Int16>("linear_i8_i16_avx2"), integer_kernel<I4Int16>("linear_i4_i16_avx2")},
    {integer_kernel<I8Int8>("linear_i8_i8_avx2"), integer_kernel<I4Int8>("linear_i4_i8_avx2")}};

}  // namespace avx2
}  // namespace nm
