// Eigenvalues and eigenvectors of small dense symmetric matrices, in float64, on one thread.
#pragma once

#include <cstdint>

namespace nm {

/**
 * a = sum over i of value[i] v_i v_i^T, values falling; row i of vectors[n][n] is v_i. a[n][n] is symmetric, finite, and
 * spoilt.
 */
void symmetric_eigen(int64_t n, double* a, double* value, double* vectors);

}  // namespace nm
