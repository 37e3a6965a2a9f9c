#include "pack/codes.h"

namespace nm {

const nm_codes& check_codes(const nm_codes* codes, int32_t least_bits, int32_t most_bits) {
  const nm_codes& c = check_struct("codes", codes);
  check_range("bits", c.bits, least_bits, most_bits);
  check_range("n", c.n, 1, kMaxBytes);
  check_range("k", c.k, 1, INT32_MAX);
  check_range("group_size", c.group_size, 1, c.k);
  if (c.n > kMaxBytes / 8 / c.k)
    fail(NM_ERR_ARGUMENT, "n: %lld x %lld elements overflow", static_cast<long long>(c.n), static_cast<long long>(c.k));
  check_array("codes", c.codes, c.n * c.k);
  check_array("zeros", c.zeros, groups_of(c) * c.n);
  return c;
}

void check_words(const nm_codes& c, const char* name, const void* words, int64_t count, int64_t word_bytes) {
  switch (word_bytes) {
    case 1:
      check_array(name, static_cast<const uint8_t*>(words), count);
      break;
    case 2:
      check_array(name, static_cast<const uint16_t*>(words), count);
      break;
    default:
      check_array(name, static_cast<const uint32_t*>(words), count);
      break;
  }
  check_no_overlap(name, words, count * word_bytes, "codes", c.codes, c.n * c.k);
  check_no_overlap(name, words, count * word_bytes, "zeros", c.zeros, groups_of(c) * c.n);
}

void check_zeros(const nm_codes& c, int32_t least) {
  for (int64_t g = 0; g < groups_of(c); g++)
    for (int64_t n = 0; n < c.n; n++) {
      const int32_t zero = c.zeros[g * c.n + n];
      if (zero < least || zero >= 1 << c.bits)
        fail(NM_ERR_ARGUMENT, "zeros[%lld,%lld]: got %d, expected %d..%d%s", static_cast<long long>(g),
             static_cast<long long>(n), zero, least, (1 << c.bits) - 1,
             zero == 0 ? ": the v1 layout cannot hold a zero point of 0, write v2" : "");
    }
}

void refuse_codes(const nm_codes& c) {
  for (int64_t i = 0; i < c.n * c.k; i++)
    if (c.codes[i] >> c.bits != 0)
      fail(NM_ERR_ARGUMENT, "codes[%lld,%lld]: got %d, expected 0..%d", static_cast<long long>(i / c.k),
           static_cast<long long>(i % c.k), c.codes[i], (1 << c.bits) - 1);
  fail(NM_ERR_ARGUMENT, "codes: changed during the call");
}

}  // namespace nm
