// Codes one a byte <-> the words of checkpoint layouts that need no more than that. Layouts: nm_word_layout.
#pragma once

#include "nanomodel.h"

namespace nm {

class Engine;

void words_unpack(Engine& engine, const nm_words_args& args);
void words_pack(Engine& engine, const nm_words_args& args);

}  // namespace nm
