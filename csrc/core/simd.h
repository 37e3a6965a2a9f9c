// The vectors of the tier that a file is compiled for, and the operations kernels need: Vec (float32), Vec64 (float64),
// Lanes (integers) and Eight (int32 on their way to narrower ones). A kernel is written once against them in <family>/<op>_simd.h; <op>_avx2.cc,
// <op>_avx512.cc and <op>_neon.cc include it, and the build derives the compiler flags from the suffix. Everything lives
// in a namespace of the tier, so that the linker can never hand wide code to a narrow caller; for the same reason tier
// files use no templates of the standard library.
#pragma once

#if defined(__aarch64__) && !defined(NM_EMULATE)
#if defined(NM_NEON_I8MM)
#define NM_TIER neon_i8mm
#elif defined(NM_NEON_DOT)
#define NM_TIER neon_dot
#else
#define NM_TIER neon
#endif
#include "core/simd_neon.h"
#else

// GCC 12 warns about its own "undefined" vectors (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#if defined(__AMX_INT8__)
#define NM_TIER avx512_amx
#include "core/simd_avx512.h"
#elif defined(__AVX512VNNI__)
#define NM_TIER avx512_vnni
#include "core/simd_avx512.h"
#elif defined(__AVX512F__)
#define NM_TIER avx512
#include "core/simd_avx512.h"
#elif defined(__AVXVNNI__)
#define NM_TIER avx2_vnni
#include "core/simd_avx2.h"
#elif defined(__AVX2__)
#define NM_TIER avx2
#include "core/simd_avx2.h"
#else
#error "simd.h is for files whose name ends in a tier, such as _avx2.cc"
#endif
#include "core/simd_x86.h"

#endif
