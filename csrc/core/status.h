// Errors inside the library: one exception type that the C boundary turns into a status code and a message.
#pragma once

#include <cstdint>

#include "nanomodel.h"

namespace nm {

/** What went wrong, in one line: argument, got, expected. The C boundary puts the function's name before it. */
struct Error {
  int32_t code;
  char message[320];
};

/** Throws Error(code, printf-formatted message). */
[[noreturn]] void fail(int32_t code, const char* format, ...) __attribute__((format(printf, 2, 3)));

/** This thread's last error; "" when there was none. */
const char* last_error();
void set_last_error(const char* function, const char* message);

}  // namespace nm
