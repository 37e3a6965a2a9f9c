// The tiles of AMX: eight of 16 rows of 64 bytes a thread. A tile is named by a number known when compiled; the compiler
// knows nothing of tiles, so none is ever spilled. For files whose name ends in _avx512_amx.cc.
//
// Not the intrinsics: GCC's loads do not tell the compiler that they read memory, so that it may move what was just
// written to behind them, and its _tile_loadconfig says so of 8 bytes of the configuration only.
#pragma once

#include <cstdint>

#if defined(NM_EMULATE)
#include <immintrin.h>
#endif

namespace nm {

/** The operand of ldtilecfg (Intel SDM, "TILECFG"). */
struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[8], reserved_bytes[8];
  uint8_t rows[8], reserved_rows[8];
};
static_assert(sizeof(TileConfig) == 64);

alignas(64) inline constexpr TileConfig kWholeTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {}, {16, 16, 16, 16, 16, 16, 16, 16}, {}};

#if defined(NM_EMULATE)

inline void configure_tiles(const TileConfig& config) { _tile_loadconfig(&config); }
inline void release_tiles() { _tile_release(); }
template <int kTile>
inline void tile_zero() {
  _tile_zero(kTile);
}
template <int kTile>
inline void tile_load(const void* p, int64_t stride) {
  _tile_loadd(kTile, p, stride);
}
template <int kTile>
inline void tile_store(void* p, int64_t stride) {
  _tile_stored(kTile, p, stride);
}
#define NM_TILE_DOT(name, instruction) \
  template <int kSum, int kA, int kB>  \
  inline void name() {                 \
    _##instruction(kSum, kA, kB);      \
  }
NM_TILE_DOT(tile_dot_ss, tile_dpbssd)
NM_TILE_DOT(tile_dot_su, tile_dpbsud)
NM_TILE_DOT(tile_dot_us, tile_dpbusd)
NM_TILE_DOT(tile_dot_uu, tile_dpbuud)
NM_TILE_DOT(tile_dot_bf16, tile_dpbf16ps)
#undef NM_TILE_DOT

#else

#define NM_TILE_INLINE __attribute__((always_inline)) inline

NM_TILE_INLINE void configure_tiles(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
}
NM_TILE_INLINE void release_tiles() { __asm__ volatile("tilerelease" : : : "memory"); }
template <int kTile>
NM_TILE_INLINE void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
/** 16 rows of 64 bytes, `stride` bytes apart. */
template <int kTile>
NM_TILE_INLINE void tile_load(const void* p, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
NM_TILE_INLINE void tile_store(void* p, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
/** Sum[m][n] += A[m][k] B[k][n] in int32: each of A and B signed or unsigned. */
#define NM_TILE_DOT(name, instruction)                                                             \
  template <int kSum, int kA, int kB>                                                              \
  NM_TILE_INLINE void name() {                                                                     \
    __asm__ volatile(instruction " %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB)); \
  }
NM_TILE_DOT(tile_dot_ss, "tdpbssd")
NM_TILE_DOT(tile_dot_su, "tdpbsud")
NM_TILE_DOT(tile_dot_us, "tdpbusd")
NM_TILE_DOT(tile_dot_uu, "tdpbuud")
NM_TILE_DOT(tile_dot_bf16, "tdpbf16ps")
#undef NM_TILE_DOT
#undef NM_TILE_INLINE

#endif

/** The thread's tiles, whole ones, until the end of the scope: then a switch of threads saves none. */
class Tiles {
 public:
  Tiles() { configure_tiles(kWholeTiles); }
  ~Tiles() { release_tiles(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace nm
