// AMX tile instructions in plain C++, for the build NANOMODEL_EMULATE and for tests: the eight tiles of a thread, their
// configuration, and the products of int8 and bf16. Names and arguments are those of <immintrin.h>. Where the CPU would
// raise an exception (Intel SDM, "AMX instruction set reference"), these throw std::logic_error and say why.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace nm_emulate {

constexpr int kTiles = 8, kTileRows = 16, kTileBytes = 64;  // of palette 1

/** The operand of ldtilecfg and sttilecfg. */
struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes[kTiles];  // of a row ("colsb")
  uint8_t reserved_bytes[16];
  uint8_t rows[kTiles];
  uint8_t reserved_rows[8];
};
static_assert(sizeof(TileConfig) == 64);

struct Tile {
  uint8_t at[kTileRows][kTileBytes];
  template <class T>
  T get(int row, int column) const {
    T x;
    std::memcpy(&x, &at[row][column * static_cast<int>(sizeof x)], sizeof x);
    return x;
  }
  template <class T>
  void set(int row, int column, T x) {
    std::memcpy(&at[row][column * static_cast<int>(sizeof x)], &x, sizeof x);
  }
};

/** What a thread has: nothing is configured at first. */
struct Tiles {
  TileConfig config;
  Tile tile[kTiles];
  int rows(int t) const { return config.rows[t]; }
  int bytes(int t) const { return config.bytes[t]; }
};
inline thread_local Tiles tiles = {};

inline void require(bool condition, const char* instruction, const char* what) {
  if (!condition) throw std::logic_error(std::string(instruction) + ": " + what);
}

inline bool all_zero(const uint8_t* p, size_t bytes) {
  uint8_t any = 0;
  for (size_t i = 0; i < bytes; i++) any = static_cast<uint8_t>(any | p[i]);
  return any == 0;
}

inline void load_config(const void* from) {
  TileConfig config;
  std::memcpy(&config, from, sizeof config);
  if (config.palette == 0) {
    tiles = {};
    return;
  }
  const char* name = "ldtilecfg";
  require(config.palette == 1, name, "the palette is neither 0 nor 1");
  require(config.start_row == 0, name, "start_row is not 0: no load or store was interrupted");
  require(all_zero(config.reserved, sizeof config.reserved) &&
              all_zero(config.reserved_bytes, sizeof config.reserved_bytes) &&
              all_zero(config.reserved_rows, sizeof config.reserved_rows),
          name, "a reserved byte is set");
  for (int t = 0; t < kTiles; t++) {
    require(config.rows[t] <= kTileRows, name, "a tile has more than 16 rows");
    require(config.bytes[t] <= kTileBytes, name, "a row has more than 64 bytes");
    require((config.rows[t] == 0) == (config.bytes[t] == 0), name,
            "a tile has rows without bytes, or bytes without rows");
  }
  tiles = {};
  tiles.config = config;
}

inline void store_config(void* to) { std::memcpy(to, &tiles.config, sizeof tiles.config); }

inline void require_tile(int t, const char* instruction) {
  require(t >= 0 && t < kTiles, instruction, "there are tiles 0 to 7");
  require(tiles.rows(t) > 0, instruction, "the tile is not configured");
}

inline void zero(int t) {
  require_tile(t, "tilezero");
  tiles.tile[t] = {};
}

/** Rows and bytes beyond the configured become 0. */
inline void load(int t, const void* from, int64_t stride) {
  require_tile(t, "tileloadd");
  Tile tile = {};
  for (int r = 0; r < tiles.rows(t); r++)
    std::memcpy(tile.at[r], static_cast<const uint8_t*>(from) + r * stride, static_cast<size_t>(tiles.bytes(t)));
  tiles.tile[t] = tile;
}

inline void store(int t, void* to, int64_t stride) {
  require_tile(t, "tilestored");
  for (int r = 0; r < tiles.rows(t); r++)
    std::memcpy(static_cast<uint8_t*>(to) + r * stride, tiles.tile[t].at[r], static_cast<size_t>(tiles.bytes(t)));
}

/** C[M][N] += A[M][K] B[K][N], an element 4 bytes wide: 4 int8 or 2 bf16, so B holds 4 (2) rows of the matrix a row. */
inline void require_product(int c, int a, int b, const char* instruction) {
  require_tile(c, instruction);
  require_tile(a, instruction);
  require_tile(b, instruction);
  require(c != a && c != b && a != b, instruction, "two operands are the same tile");
  require(tiles.bytes(a) % 4 == 0 && tiles.bytes(b) % 4 == 0 && tiles.bytes(c) % 4 == 0, instruction,
          "a row is not made of 4-byte elements");
  require(tiles.rows(c) == tiles.rows(a), instruction, "C and A differ in rows");
  require(tiles.bytes(c) == tiles.bytes(b), instruction, "C and B differ in columns");
  require(tiles.bytes(a) / 4 == tiles.rows(b), instruction, "A has not as many columns as B has rows");
}

/** Sums wrap around at 32 bits. */
template <class TypeA, class TypeB>
inline void dot_int8(int c, int a, int b, const char* instruction) {
  require_product(c, a, b, instruction);
  Tile& sum = tiles.tile[c];
  const Tile &left = tiles.tile[a], &right = tiles.tile[b];
  for (int m = 0; m < tiles.rows(c); m++)
    for (int k = 0; k < tiles.rows(b); k++)
      for (int n = 0; n < tiles.bytes(c) / 4; n++) {
        int32_t dot = 0;
        for (int i = 0; i < 4; i++)
          dot += int32_t{left.get<TypeA>(m, 4 * k + i)} * int32_t{right.get<TypeB>(k, 4 * n + i)};
        sum.set(m, n, sum.get<uint32_t>(m, n) + static_cast<uint32_t>(dot));
      }
}

/** Subnormal numbers count as 0, whatever MXCSR says. */
inline float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

inline float from_bf16(uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return flushed(y);
}

/** Even and odd elements are summed apart by fused multiply-adds from 0; their sum is added to C. */
inline void dot_bf16(int c, int a, int b) {
  require_product(c, a, b, "tdpbf16ps");
  Tile& total = tiles.tile[c];
  const Tile &left = tiles.tile[a], &right = tiles.tile[b];
  for (int m = 0; m < tiles.rows(c); m++)
    for (int n = 0; n < tiles.bytes(c) / 4; n++) {
      float sum[2] = {0, 0};
      for (int k = 0; k < tiles.rows(b); k++)
        for (int i = 0; i < 2; i++)
          sum[i] = flushed(std::fma(from_bf16(left.get<uint16_t>(m, 2 * k + i)),
                                    from_bf16(right.get<uint16_t>(k, 2 * n + i)), sum[i]));
      total.set(m, n, flushed(flushed(total.get<float>(m, n)) + flushed(sum[0] + sum[1])));
    }
}

}  // namespace nm_emulate

#define _tile_loadconfig(p) nm_emulate::load_config(p)
#define _tile_storeconfig(p) nm_emulate::store_config(p)
#define _tile_release() (nm_emulate::tiles = {})
#define _tile_zero(t) nm_emulate::zero(t)
#define _tile_loadd(t, p, stride) nm_emulate::load(t, p, static_cast<int64_t>(stride))
#define _tile_stream_loadd(t, p, stride) nm_emulate::load(t, p, static_cast<int64_t>(stride))
#define _tile_stored(t, p, stride) nm_emulate::store(t, p, static_cast<int64_t>(stride))
#define _tile_dpbssd(c, a, b) nm_emulate::dot_int8<int8_t, int8_t>(c, a, b, "tdpbssd")
#define _tile_dpbsud(c, a, b) nm_emulate::dot_int8<int8_t, uint8_t>(c, a, b, "tdpbsud")
#define _tile_dpbusd(c, a, b) nm_emulate::dot_int8<uint8_t, int8_t>(c, a, b, "tdpbusd")
#define _tile_dpbuud(c, a, b) nm_emulate::dot_int8<uint8_t, uint8_t>(c, a, b, "tdpbuud")
#define _tile_dpbf16ps(c, a, b) nm_emulate::dot_bf16(c, a, b)
