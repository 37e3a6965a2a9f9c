#include "core/dispatch.h"

#include "activation/activation.h"
#include "attention/attention.h"
#include "calibrate/calibrate.h"
#include "calibrate/gptq.h"
#include "convert/convert.h"
#include "core/status.h"
#include "linear/linear.h"
#include "norm/norm.h"
#include "rope/rope.h"
#include "sampling/sampling.h"

namespace nm {
namespace {

// clang-format off
const KernelTable kTables[] = {
    {NM_TIER_REFERENCE, &ref::linear, &ref::integer, &ref::norm, &ref::rope, &ref::attention, &ref::activation, &ref::sampling, &ref::convert, &ref::calibrate, &ref::gptq},
#if defined(__x86_64__) || defined(NM_EMULATE)
    {NM_TIER_AVX2,        &avx2::linear,   &avx2::integer,        &avx2::norm,   &avx2::rope,   &avx2::attention,   &avx2::activation,   &avx2::sampling,   &avx2::convert,   &avx2::calibrate,   &avx2::gptq},
    {NM_TIER_AVX2_VNNI,   &avx2::linear,   &avx2_vnni::integer,   &avx2::norm,   &avx2::rope,   &avx2::attention,   &avx2::activation,   &avx2::sampling,   &avx2::convert,   &avx2::calibrate,   &avx2::gptq},
    {NM_TIER_AVX512,      &avx512::linear, &avx512::integer,      &avx512::norm, &avx512::rope, &avx512::attention, &avx512::activation, &avx512::sampling, &avx512::convert, &avx512::calibrate, &avx512::gptq},
    {NM_TIER_AVX512_VNNI, &avx512::linear, &avx512_vnni::integer, &avx512::norm, &avx512::rope, &avx512::attention, &avx512::activation, &avx512::sampling, &avx512::convert, &avx512::calibrate, &avx512::gptq},
    {NM_TIER_AVX512_AMX,  &avx512::linear, &avx512_vnni::integer, &avx512::norm, &avx512::rope, &avx512::attention, &avx512::activation, &avx512::sampling, &avx512::convert, &avx512::calibrate, &avx512::gptq, &avx512_amx::tiles, &avx512_amx::gram},
#elif defined(__aarch64__)
    {NM_TIER_NEON,      &neon::linear, &neon::integer,      &neon::norm, &neon::rope, &neon::attention, &neon::activation, &neon::sampling, &neon::convert, &neon::calibrate, &neon::gptq},
    {NM_TIER_NEON_DOT,  &neon::linear, &neon_dot::integer,  &neon::norm, &neon::rope, &neon::attention, &neon::activation, &neon::sampling, &neon::convert, &neon::calibrate, &neon::gptq},
    {NM_TIER_NEON_I8MM, &neon::linear, &neon_i8mm::integer, &neon::norm, &neon::rope, &neon::attention, &neon::activation, &neon::sampling, &neon::convert, &neon::calibrate, &neon::gptq},
#endif
};
// clang-format on

}  // namespace

const KernelTable& kernel_table(int32_t tier) {
  for (const KernelTable& table : kTables)
    if (table.tier == tier) return table;
  fail(NM_ERR_UNSUPPORTED, "tier: %d is not compiled in", tier);
}

}  // namespace nm
