#include "core/status.h"

#include <cstdarg>
#include <cstdio>

namespace nm {
namespace {
thread_local char last[400] = "";
}

void fail(int32_t code, const char* format, ...) {
  Error error;
  error.code = code;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error.message, sizeof error.message, format, arguments);
  va_end(arguments);
  throw error;
}

const char* last_error() { return last; }

void set_last_error(const char* function, const char* message) {
  std::snprintf(last, sizeof last, "%s: %s", function, message);
}

}  // namespace nm
