// Canonical weights -> the packed image, over the engine's threads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

#include "convert/numbers.h"
#include "core/check.h"
#include "core/engine.h"
#include "linear/linear.h"

namespace nm {
namespace {

using numbers::f16_from_f64;
using numbers::f32_from_f16;

constexpr int64_t kNowhere = INT64_MAX;

/** Everything about an image but its numbers. */
struct Plan {
  ImageHeader header = {};
  std::vector<Block> blocks;
  std::vector<int32_t> map;  // empty when columns are those of x
};

int64_t groups_of(const nm_weight& w) { return (w.k - 1) / w.group_size + 1; }

void check_weight(const nm_weight& w) {
  check_range("n", w.n, 1, kMaxBytes);
  check_range("k", w.k, 1, INT32_MAX - kMaxBlock);
  if (w.n > kMaxBytes / 64 / w.k)
    fail(NM_ERR_ARGUMENT, "n: %lld x %lld elements overflow", static_cast<long long>(w.n), static_cast<long long>(w.k));
  if (w.bits == 0) {
    if (w.type != NM_F32 && w.type != NM_F16 && w.type != NM_BF16)
      fail(NM_ERR_ARGUMENT, "type: got %d, expected 0 (f32), 1 (f16) or 2 (bf16)", w.type);
    return;
  }
  check_range("bits", w.bits, 2, 8);
  if (w.activations != NM_ACTIVATIONS_AUTO && w.activations != NM_ACTIVATIONS_INT8 &&
      w.activations != NM_ACTIVATIONS_INT4)
    fail(NM_ERR_ARGUMENT, "activations: got %d, expected 0 (auto), 3 (int8) or 4 (int4)", w.activations);
  check_range("group_size", w.group_size, 1, w.k);
  if (w.g_idx == nullptr) return;
  check_array("g_idx", w.g_idx, w.k);
  const int64_t groups = groups_of(w);
  for (int64_t k = 0; k < w.k; k++)
    if (w.g_idx[k] < 0 || w.g_idx[k] >= groups)
      fail(NM_ERR_ARGUMENT, "g_idx[%lld]: got %d, expected 0..%lld", static_cast<long long>(k), w.g_idx[k],
           static_cast<long long>(groups - 1));
}

/** Columns of x in the order of their groups, stable; start[g] = where group g begins, start[G] = K. */
struct Sorted {
  std::vector<int32_t> column;
  std::vector<int64_t> start;
  bool moved = false;
};

Sorted sort_columns(const nm_weight& w) {
  const auto group = [&](int64_t k) { return w.g_idx != nullptr ? int64_t{w.g_idx[k]} : k / w.group_size; };
  Sorted s;
  s.column.resize(static_cast<size_t>(w.k));
  s.start.assign(static_cast<size_t>(groups_of(w)) + 1, 0);
  for (int64_t k = 0; k < w.k; k++) s.start[static_cast<size_t>(group(k)) + 1]++;
  for (size_t g = 1; g < s.start.size(); g++) s.start[g] += s.start[g - 1];
  std::vector<int64_t> next(s.start.begin(), s.start.end() - 1);
  for (int64_t k = 0; k < w.k; k++) {
    const int64_t at = next[static_cast<size_t>(group(k))]++;
    s.column[static_cast<size_t>(at)] = static_cast<int32_t>(k);
    s.moved |= at != k;
  }
  return s;
}

/** Cuts `count` columns of a group into blocks of whole lines; the padding of the last one is -1 in the map. */
void add_group(Plan& plan, int32_t group, const int32_t* column, int64_t count, int64_t line) {
  for (int64_t from = 0; from < count; from += kMaxBlock) {
    const int64_t width = std::min(kMaxBlock, count - from), padded = (width + line - 1) / line * line;
    const int64_t begin = plan.header.columns;
    if (begin + padded > INT32_MAX) fail(NM_ERR_UNSUPPORTED, "k: its groups, padded, exceed 2^31 columns");
    plan.header.columns += padded;
    plan.blocks.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(begin + padded), group});
    plan.map.insert(plan.map.end(), column + from, column + from + width);
    plan.map.insert(plan.map.end(), static_cast<size_t>(padded - width), -1);
  }
}

bool scales_fit_f16(const float* scales, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (f32_from_f16(f16_from_f64(double{scales[i]})) != std::bit_cast<uint32_t>(scales[i])) return false;
  return true;
}

/** scale_type decides the size, so it is read here as well; NULL scales (size only) count as float32. */
Plan make_plan(const nm_weight& w) {
  check_weight(w);
  Plan plan;
  ImageHeader& h = plan.header;
  h.n = w.n;
  h.k = w.k;
  h.bits = w.bits;
  h.groups = 1;
  h.scale_type = NM_F32;
  if (w.bits == 0) {
    h.layout = w.type == NM_F32 ? kLayoutF32 : w.type == NM_F16 ? kLayoutF16 : kLayoutBf16;
    for (int64_t k = 0; k < w.k; k += kMaxBlock)
      plan.blocks.push_back({static_cast<int32_t>(k), static_cast<int32_t>(std::min(k + kMaxBlock, w.k)), 0});
    h.columns = w.k;
  } else {
    h.layout = w.bits <= 4 ? kLayoutI4 : kLayoutI8;
    h.activations = w.activations;
    h.groups = groups_of(w);
    const Sorted s = sort_columns(w);
    h.act_order = s.moved;
    for (size_t g = 0; g + 1 < s.start.size(); g++)
      add_group(plan, static_cast<int32_t>(g), s.column.data() + s.start[g], s.start[g + 1] - s.start[g],
                line_columns(h.layout));
    h.mapped = s.moved || h.columns != w.k;
    if (h.mapped == 0) plan.map.clear();
  }
  h.blocks = static_cast<int64_t>(plan.blocks.size());
  place(h);
  return plan;
}

/** Keeps the smallest position at which something was wrong, whichever thread found it. */
class First {
 public:
  void found(int64_t at) {
    int64_t old = at_.load(std::memory_order_relaxed);
    while (at < old && !at_.compare_exchange_weak(old, at, std::memory_order_relaxed)) {
    }
  }
  int64_t at() const { return at_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> at_{kNowhere};
};

/** [K][16] elements of a panel from the rows of data[N,K]. */
template <class T>
void pack_float_panel(const nm_weight& w, int64_t panel, T* to) {
  const T* data = static_cast<const T*>(w.data);
  const int64_t rows = std::min(kPanel, w.n - panel * kPanel);
  std::memset(to, 0, static_cast<size_t>(w.k * kPanel) * sizeof(T));
  for (int64_t k0 = 0; k0 < w.k; k0 += 64)  // a tile of 64 columns stays in the first cache
    for (int64_t r = 0; r < rows; r++) {
      const T* from = data + (panel * kPanel + r) * w.k;
      for (int64_t k = k0; k < std::min(k0 + 64, w.k); k++) to[k * kPanel + r] = from[k];
    }
}

/** Eight codes of a row, one a byte, from column c of the image on; columns that are not there are 0. */
uint64_t eight_codes(const uint8_t* codes, const int32_t* map, int64_t c, int64_t count) {
  uint8_t bytes[8] = {};
  if (map == nullptr)
    std::memcpy(bytes, codes + c, static_cast<size_t>(count));
  else
    for (int64_t i = 0; i < count; i++) bytes[i] = map[c + i] < 0 ? uint8_t{0} : codes[map[c + i]];
  uint64_t x;
  std::memcpy(&x, bytes, sizeof x);
  return x;
}

/** Eight 4-bit codes, one a byte -> two a byte, the first in the low half. */
uint32_t nibbles(uint64_t x) {
  x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
  x = (x | x >> 8) & 0x0000ffff0000ffffu;
  return static_cast<uint32_t>(x | x >> 16);
}

/** The lines of a panel of codes; too large codes are reported and damage nothing else. */
void pack_code_panel(const nm_weight& w, const Plan& plan, int64_t panel, uint8_t* to, First& bad) {
  static_assert(std::endian::native == std::endian::little, "codes are moved as bytes of words");
  const bool i4 = plan.header.layout == kLayoutI4;
  const int64_t columns = plan.header.columns, rows = std::min(kPanel, w.n - panel * kPanel);
  const int32_t* map = plan.map.empty() ? nullptr : plan.map.data();
  const uint64_t most = ((uint64_t{1} << w.bits) - 1) * 0x0101010101010101u;
  std::memset(to, 0, static_cast<size_t>(columns / line_columns(plan.header.layout) * 64));
  for (int64_t c0 = 0; c0 < columns; c0 += 64)  // a tile of 64 columns stays in the first cache
    for (int64_t r = 0; r < rows; r++) {
      const int64_t n = panel * kPanel + r;
      const uint8_t* codes = w.codes + n * w.k;
      for (int64_t c = c0; c < std::min(c0 + 64, columns); c += 8) {
        const int64_t count = std::min<int64_t>(8, columns - c);
        const uint64_t x = eight_codes(codes, map, c, count);
        if ((x & ~most) != 0)
          for (int64_t i = 0; i < count; i++)
            if ((x & ~most) >> 8 * i & 255u) bad.found(n * w.k + (map == nullptr ? c + i : map[c + i]));
        uint8_t* lane = to + (i4 ? c / 8 : c / 4) * 64 + r * 4;
        const uint32_t first = i4 ? nibbles(x & most) : static_cast<uint32_t>(x);
        std::memcpy(lane, &first, 4);
        const uint32_t second = static_cast<uint32_t>(x >> 32);
        if (!i4 && count > 4) std::memcpy(lane + 64, &second, 4);
      }
    }
}

/** Scales and zeros of a panel, [G][16] each, from [G,N]. */
void pack_groups(const nm_weight& w, const ImageHeader& h, int64_t panel, uint8_t* image, First& bad) {
  const int64_t first = panel * kPanel, rows = std::min(kPanel, w.n - first);
  const uint8_t most = static_cast<uint8_t>((1u << w.bits) - 1u);
  for (int64_t g = 0; g < h.groups; g++) {
    const int64_t line = (panel * h.groups + g) * kPanel;
    uint8_t* zeros = image + h.zeros_at + line;
    float scales[kPanel] = {};
    std::memset(zeros, 0, kPanel);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t from = g * w.n + first + r;
      scales[r] = w.scales[from];
      zeros[r] = w.zeros != nullptr ? w.zeros[from] : static_cast<uint8_t>(1u << (w.bits - 1));
      if (zeros[r] > most) bad.found(from);
    }
    if (h.scale_type == NM_F32) {
      std::memcpy(image + h.scales_at + line * 4, scales, sizeof scales);
    } else {
      uint16_t* half = reinterpret_cast<uint16_t*>(image + h.scales_at) + line;
      for (int64_t r = 0; r < kPanel; r++) half[r] = static_cast<uint16_t>(f16_from_f64(double{scales[r]}));
    }
  }
}

[[noreturn]] void refuse(const char* name, int64_t at, int64_t width, int got, int bits) {
  fail(NM_ERR_ARGUMENT, "%s[%lld,%lld]: got %d, expected 0..%d", name, static_cast<long long>(at / width),
       static_cast<long long>(at % width), got, (1 << bits) - 1);
}

void check_pointers(const nm_weight& w) {
  if (w.bits == 0) {
    if (w.type == NM_F32)
      check_array("data", static_cast<const float*>(w.data), w.n * w.k);
    else
      check_array("data", static_cast<const uint16_t*>(w.data), w.n * w.k);
    return;
  }
  const int64_t groups = groups_of(w);
  check_array("codes", w.codes, w.n * w.k);
  check_array("scales", w.scales, groups * w.n);
}

}  // namespace

int64_t linear_pack_size(Engine&, const nm_weight& weight) { return make_plan(weight).header.bytes; }

void linear_pack(Engine& engine, const nm_weight& w, void* image, int64_t bytes) {
  Plan plan = make_plan(w);
  check_pointers(w);
  ImageHeader& h = plan.header;
  check_array("image", static_cast<uint64_t*>(image), 1);
  if (bytes != h.bytes)
    fail(NM_ERR_ARGUMENT, "bytes: got %lld, expected %lld, as nm_linear_pack_size says", static_cast<long long>(bytes),
         static_cast<long long>(h.bytes));
  if (w.bits != 0 && scales_fit_f16(w.scales, h.groups * w.n)) {  // never longer than what was asked for
    h.scale_type = NM_F16;
    place(h);
  }
  uint8_t* to = static_cast<uint8_t*>(image);
  std::memset(to, 0, static_cast<size_t>(h.weights_at));
  std::memcpy(to + h.blocks_at, plan.blocks.data(), plan.blocks.size() * sizeof(Block));
  if (h.mapped != 0) std::memcpy(to + h.map_at, plan.map.data(), plan.map.size() * 4);
  const int64_t panels = (w.n + kPanel - 1) / kPanel;
  const int64_t panel_bytes = h.columns / line_columns(h.layout) * line_bytes(h.layout);
  First bad_code, bad_zero;
  engine.parallel_for(panels, (1 << 15) / h.columns + 1, nullptr, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; p++) {
      uint8_t* weights = to + h.weights_at + p * panel_bytes;
      if (h.layout == kLayoutF32) {
        pack_float_panel(w, p, reinterpret_cast<float*>(weights));
      } else if (w.bits == 0) {
        pack_float_panel(w, p, reinterpret_cast<uint16_t*>(weights));
      } else {
        pack_code_panel(w, plan, p, weights, bad_code);
        pack_groups(w, h, p, to, bad_zero);
      }
    }
  });
  if (bad_code.at() != kNowhere) refuse("codes", bad_code.at(), w.k, w.codes[bad_code.at()], w.bits);
  if (bad_zero.at() != kNowhere) refuse("zeros", bad_zero.at(), w.n, w.zeros[bad_zero.at()], w.bits);
  std::memcpy(to, &h, sizeof h);  // last: an image that was not finished is not taken for one
}

void linear_query(Engine& engine, const void* image, int64_t bytes, nm_linear_info& info) {
  const ImageHeader& h = check_image(image, bytes);
  info.bits = h.layout == kLayoutI4 ? 4 : h.layout == kLayoutI8 ? 8 : 0;
  info.type = h.layout == kLayoutF16 ? NM_F16 : h.layout == kLayoutBf16 ? NM_BF16 : NM_F32;
  info.act_order = h.act_order;
  info.n = h.n;
  info.k = h.k;
  info.groups = h.groups;
  info.bytes = h.bytes;
  const char* name = linear_kernel_name(engine, view_image(h));
  std::memset(info.kernel, 0, sizeof info.kernel);
  std::memcpy(info.kernel, name, std::min(std::strlen(name), sizeof info.kernel - 1));
}

}  // namespace nm
