// What the safety table of the C boundary is made of: an entry point, a call that works, and which of its fields may be
// spoilt how. abi_safety_test.cc fills it and spoils one thing at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "nanomodel.h"

namespace nmtest {

enum class Kind {
  kPointer,   // required
  kOptional,  // NULL will do
  kStruct,    // required, points at a struct with a struct_size
  kCount,     // any number that is negative or overflows is refused; so is 0, or nothing is done
  kAtLeast,   // a number of bytes that may be larger than needed
  kFree,      // refused when negative, else any number
  kEnum,      // int32_t, a few values only
};

struct Field {
  const char* name;
  Kind kind;
  char* at;
  size_t alignment;
};

/** One struct of a call: the arguments, or what they point at. */
struct Struct {
  const char* name;
  char* at;
  size_t bytes;
  std::vector<Field> fields;
};

struct Entry {
  const char* name;
  std::function<int32_t(nm_engine*, const void*)> call;  // with the address of the first struct
  std::vector<Struct> structs;                           // the first is the argument
};

template <class T>
Field field(const char* name, Kind kind, T& member) {
  size_t alignment = alignof(T);
  if constexpr (std::is_pointer_v<T>) {
    using Target = std::remove_cv_t<std::remove_pointer_t<T>>;
    if constexpr (!std::is_void_v<Target>) alignment = alignof(Target);
  }
  return {name, kind, reinterpret_cast<char*>(&member), alignment};
}

template <class T>
Struct structure(const char* name, T& value, std::vector<Field> fields) {
  return {name, reinterpret_cast<char*>(&value), sizeof value, std::move(fields)};
}

}  // namespace nmtest
