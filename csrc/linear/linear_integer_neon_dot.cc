#include "linear/linear_digits_neon.h"

namespace nm {
namespace neon_dot {

const IntegerKernels integer = {
    {integer_kernel<I8Int16>("linear_i8_i16_neon_dot"), integer_kernel<I4Digits>("linear_i4_i16_neon_dot")},
    {integer_kernel<I8Int8>("linear_i8_i8_neon_dot"), integer_kernel<I4Int8>("linear_i4_i8_neon_dot")}};

}  // namespace neon_dot
}  // namespace nm
