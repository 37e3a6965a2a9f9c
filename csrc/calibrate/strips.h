// Matrices in strips of 48 columns (see nanomodel.h). 48 columns are three vectors of AVX-512 or six of AVX2, so that the
// one tile that all of GPTQ is made of, 8 x 48, needs no packing: eight neighbouring columns of a strip are one side of
// the product, all of a strip is the other.
#pragma once

#include <cstdint>

namespace nm {

constexpr int64_t kStrip = 48;
constexpr int64_t kNarrow = 8;  // columns of the narrow side; a strip holds six of them

inline int64_t strips_of(int64_t k) { return (k + kStrip - 1) / kStrip; }
inline int64_t panels_of(int64_t k) { return (k + kNarrow - 1) / kNarrow; }

/** Elements of a triangle of `strips` strips, and where the next strip begins. */
inline int64_t triangle(int64_t strips) { return kStrip * kStrip / 2 * strips * (strips + 1); }

/** Row i of the strip of column j, at column j. */
template <class T>
T* at_triangle(T* m, int64_t i, int64_t j) {
  const int64_t s = j / kStrip;
  return m + triangle(s) + kStrip * i + j % kStrip;
}

template <class T>
T* at_full(T* m, int64_t strips, int64_t i, int64_t j) {
  return m + j / kStrip * strips * kStrip * kStrip + kStrip * i + j % kStrip;
}

}  // namespace nm
