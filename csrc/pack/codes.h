// What all checkpoint layouts check of the canonical codes they are made of.
#pragma once

#include "core/check.h"
#include "nanomodel.h"

namespace nm {

inline int64_t groups_of(const nm_codes& c) { return (c.k - 1) / c.group_size + 1; }

/** Shape, codes and zeros; scales and g_idx are none of a packer's business. */
const nm_codes& check_codes(const nm_codes* codes, int32_t least_bits, int32_t most_bits = 8);

/** An array of words of 1, 2 or 4 bytes, apart from codes and zeros. */
void check_words(const nm_codes& c, const char* name, const void* words, int64_t count, int64_t word_bytes);

/** Every zero point can be stored; `least` is 1 where zero - 1 is. */
void check_zeros(const nm_codes& c, int32_t least);

/** Names the first code that is too large; there is one. */
[[noreturn]] void refuse_codes(const nm_codes& c);

}  // namespace nm
