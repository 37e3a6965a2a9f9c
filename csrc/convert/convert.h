// Number formats to float32, float16 and bfloat16, and rows of an embedding table.
//
// All tiers give the same bits. Rounding is half to even, once (float64 to float16 too); overflow gives infinity;
// subnormals are kept; a NaN stays one with the upper bits of its payload, made quiet where bits are not only moved
// (bfloat16 to float32, a type to itself).
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

class Engine;

/** y[i] = x[i] for i < n, on one thread. Types are nm_type. */
struct ConvertKernels {
  void (*to_f32)(int32_t from, const void* x, int64_t n, float* y);
  void (*to_f16)(int32_t from, const void* x, int64_t n, uint16_t* y);
  void (*to_bf16)(int32_t from, const void* x, int64_t n, uint16_t* y);
};

namespace ref {
extern const ConvertKernels convert;
}
namespace avx2 {
extern const ConvertKernels convert;
}
namespace avx512 {
extern const ConvertKernels convert;
}
namespace neon {
extern const ConvertKernels convert;
}

void convert(Engine& engine, const nm_convert_args& args);
void embedding(Engine& engine, const nm_embedding_args& args);

}  // namespace nm
