#include "linear/linear_mmla_neon.h"

namespace nm {
namespace neon_i8mm {

const IntegerKernels integer = {{mmla_kernel<I8Digits, DigitRows<I8Digits>>("linear_i8_i16_neon_i8mm"),
                                 mmla_kernel<I4Digits, DigitRows<I4Digits>>("linear_i4_i16_neon_i8mm")},
                                {mmla_kernel<I8Int8, ByteRows<I8Int8>>("linear_i8_i8_neon_i8mm"),
                                 mmla_kernel<I4Int8, ByteRows<I4Int8>>("linear_i4_i8_neon_i8mm")}};

}  // namespace neon_i8mm
}  // namespace nm
