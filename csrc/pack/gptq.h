// The tensors of a GPTQ checkpoint <-> canonical codes. Frantar et al. 2022; layout: the bit streams of nanomodel.h.
#pragma once

#include "nanomodel.h"

namespace nm {

class Engine;

void gptq_unpack(Engine& engine, const nm_gptq_args& args);
void gptq_pack(Engine& engine, const nm_gptq_args& args);

}  // namespace nm
