// The tensors of an AWQ checkpoint in the GEMM layout <-> canonical codes. Lin et al. 2023; layout: nanomodel.h.
#pragma once

#include "nanomodel.h"

namespace nm {

class Engine;

void awq_unpack(Engine& engine, const nm_awq_args& args);
void awq_pack(Engine& engine, const nm_awq_args& args);

}  // namespace nm
