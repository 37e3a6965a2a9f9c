// Argument checks of the C boundary. Each names the argument, what came and what was expected.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace nm {

/** No product of shape and element size may exceed this: far above any memory, far below overflow. */
constexpr int64_t kMaxBytes = int64_t{1} << 46;

inline void check_at_least(const char* name, int64_t value, int64_t least) {
  if (value < least)
    fail(NM_ERR_ARGUMENT, "%s: got %lld, expected at least %lld", name, static_cast<long long>(value),
         static_cast<long long>(least));
}

inline void check_range(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    fail(NM_ERR_ARGUMENT, "%s: got %lld, expected %lld..%lld", name, static_cast<long long>(value),
         static_cast<long long>(least), static_cast<long long>(most));
}

template <class T>
const T& check_struct(const char* name, const T* args) {
  if (args == nullptr) fail(NM_ERR_ARGUMENT, "%s: got NULL, expected a struct", name);
  if (reinterpret_cast<uintptr_t>(args) % alignof(T) != 0)
    fail(NM_ERR_ARGUMENT, "%s: misaligned, expected a multiple of %zu", name, alignof(T));
  if (args->struct_size != sizeof(T))
    fail(NM_ERR_STRUCT_SIZE, "%s.struct_size: got %u, expected %zu", name, args->struct_size, sizeof(T));
  return *args;
}

/** From the first to the last byte of a float matrix. */
inline int64_t matrix_bytes(int64_t rows, int64_t cols, int64_t stride) {
  return rows == 0 ? 0 : ((rows - 1) * stride + cols) * 4;
}

/** A non-NULL, aligned pointer to `count` elements. */
template <class T>
void check_array(const char* name, const T* address, int64_t count) {
  check_at_least(name, count, 0);
  if (count > kMaxBytes / static_cast<int64_t>(sizeof(T)))
    fail(NM_ERR_ARGUMENT, "%s: %lld elements overflow", name, static_cast<long long>(count));
  if (count > 0 && address == nullptr) fail(NM_ERR_ARGUMENT, "%s: got NULL", name);
  if (reinterpret_cast<uintptr_t>(address) % alignof(T) != 0)
    fail(NM_ERR_ARGUMENT, "%s: misaligned, expected a multiple of %zu", name, alignof(T));
}

/** rows x cols elements, rows `stride` apart. */
template <class T>
void check_matrix(const char* name, const T* address, int64_t rows, int64_t cols, int64_t stride) {
  check_range(name, rows, 0, kMaxBytes);
  check_range(name, cols, 0, kMaxBytes);
  if (rows > 1 && stride < cols)
    fail(NM_ERR_ARGUMENT, "%s_stride: got %lld, expected at least %lld", name, static_cast<long long>(stride),
         static_cast<long long>(cols));
  const int64_t width = stride > cols ? stride : cols;
  if (rows > 0 && width > kMaxBytes / static_cast<int64_t>(sizeof(T)) / rows)
    fail(NM_ERR_ARGUMENT, "%s: %lld x %lld elements overflow", name, static_cast<long long>(rows),
         static_cast<long long>(width));
  check_array(name, address, rows * cols > 0 ? 1 : 0);
}

/** Two ranges of bytes have none in common. */
inline void check_no_overlap(const char* name, const void* a, int64_t a_bytes, const char* other, const void* b,
                             int64_t b_bytes) {
  const auto a_at = reinterpret_cast<uintptr_t>(a), b_at = reinterpret_cast<uintptr_t>(b);
  if (a_at < b_at + static_cast<uintptr_t>(b_bytes) && b_at < a_at + static_cast<uintptr_t>(a_bytes))
    fail(NM_ERR_ARGUMENT, "%s: overlaps %s", name, other);
}

}  // namespace nm
