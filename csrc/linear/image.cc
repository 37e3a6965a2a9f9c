#include "linear/image.h"

#include <cstring>

#include "core/check.h"

namespace nm {
namespace {

constexpr char kMagic[8] = {'N', 'M', 'L', 'I', 'N', 'E', 'A', 'R'};
constexpr uint32_t kVersion = 2;

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t panels_of(const ImageHeader& h) { return (h.n + kPanel - 1) / kPanel; }

/** Sizes whose products cannot overflow. */
bool sane(const ImageHeader& h) {
  const bool integer = h.layout >= kLayoutI8;
  if (h.layout < 0 || h.layout >= kLayouts || h.n < 1 || h.k < 1 || h.k > INT32_MAX) return false;
  if (h.columns < 1 || h.columns > INT32_MAX || h.columns % line_columns(h.layout) != 0) return false;
  if (h.n > kMaxBytes / 4 / h.columns || h.blocks < 1 || h.blocks > h.columns || h.groups < 1) return false;
  if (h.groups > kMaxBytes / 64 / panels_of(h)) return false;
  if (h.mapped != 0 && h.mapped != 1) return false;
  if (h.mapped == 0 && h.columns != h.k) return false;
  if (h.reserved != 0) return false;
  if (integer) {
    const int32_t most = h.layout == kLayoutI4 ? 4 : 8;
    const bool activations = h.activations == NM_ACTIVATIONS_AUTO || h.activations == NM_ACTIVATIONS_INT8 ||
                             h.activations == NM_ACTIVATIONS_INT4;
    return h.bits >= 2 && h.bits <= most && (h.scale_type == NM_F32 || h.scale_type == NM_F16) && activations;
  }
  return h.bits == 0 && h.activations == 0 && h.mapped == 0 && h.groups == 1 && h.scale_type == NM_F32 &&
         h.act_order == 0;
}

void check_blocks(const ImageHeader& h, const Block* block) {
  int64_t at = 0;
  for (int64_t b = 0; b < h.blocks; b++) {
    const int64_t width = int64_t{block[b].end} - block[b].begin;
    if (block[b].begin != at || width < 1 || width > kMaxBlock || width % line_columns(h.layout) != 0 ||
        block[b].group < 0 || block[b].group >= h.groups)
      fail(NM_ERR_ARGUMENT, "image: damaged, block %lld is [%d, %d) of group %d", static_cast<long long>(b),
           block[b].begin, block[b].end, block[b].group);
    at += width;
  }
  if (at != h.columns)
    fail(NM_ERR_ARGUMENT, "image: damaged, its blocks hold %lld columns of %lld", static_cast<long long>(at),
         static_cast<long long>(h.columns));
}

void check_map(const ImageHeader& h, const int32_t* map) {
  const int32_t k = static_cast<int32_t>(h.k);
  bool outside = false;
  for (int64_t c = 0; c < h.columns; c++) outside |= map[c] < -1 || map[c] >= k;
  if (outside) fail(NM_ERR_ARGUMENT, "image: damaged, its column map points outside 0..%d", k - 1);
}

template <class T>
const T* at(const void* image, int64_t offset) {
  return reinterpret_cast<const T*>(static_cast<const uint8_t*>(image) + offset);
}

}  // namespace

int64_t line_columns(int32_t layout) { return layout == kLayoutI4 ? 8 : layout == kLayoutI8 ? 4 : 1; }

int64_t line_bytes(int32_t layout) { return layout == kLayoutF16 || layout == kLayoutBf16 ? 32 : 64; }

void place(ImageHeader& h) {
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.version = kVersion;
  const bool integer = h.layout >= kLayoutI8;
  const int64_t table = integer ? panels_of(h) * h.groups * kPanel : 0;
  int64_t next = aligned(sizeof(ImageHeader));
  const auto take = [&](int64_t bytes) {
    const int64_t offset = bytes == 0 ? 0 : next;
    next += aligned(bytes);
    return offset;
  };
  h.blocks_at = take(h.blocks * static_cast<int64_t>(sizeof(Block)));
  h.map_at = take(h.mapped != 0 ? h.columns * 4 : 0);
  h.scales_at = take(table * (h.scale_type == NM_F16 ? 2 : 4));
  h.zeros_at = take(table);
  h.weights_at = take(panels_of(h) * (h.columns / line_columns(h.layout)) * line_bytes(h.layout));
  h.bytes = next;
}

const ImageHeader& check_image(const void* image, int64_t bytes) {
  check_array("image", static_cast<const uint64_t*>(image), 1);
  check_at_least("image_bytes", bytes, static_cast<int64_t>(sizeof(ImageHeader)));
  const ImageHeader& h = *static_cast<const ImageHeader*>(image);
  if (std::memcmp(h.magic, kMagic, sizeof kMagic) != 0) fail(NM_ERR_ARGUMENT, "image: not an image of nm_linear_pack");
  if (h.version != kVersion)
    fail(NM_ERR_ARGUMENT, "image: got layout version %u, expected %u; pack the weight again", h.version, kVersion);
  if (!sane(h)) fail(NM_ERR_ARGUMENT, "image: damaged header");
  ImageHeader expected = h;
  place(expected);
  if (std::memcmp(&expected, &h, sizeof h) != 0) fail(NM_ERR_ARGUMENT, "image: damaged header, its offsets disagree");
  if (bytes < h.bytes)
    fail(NM_ERR_ARGUMENT, "image_bytes: got %lld, expected %lld: the image is cut off", static_cast<long long>(bytes),
         static_cast<long long>(h.bytes));
  check_blocks(h, at<Block>(image, h.blocks_at));
  if (h.mapped != 0) check_map(h, at<int32_t>(image, h.map_at));
  return h;
}

Image view_image(const ImageHeader& h) {
  const void* image = &h;
  Image v = {};
  v.layout = h.layout;
  v.scale_type = h.scale_type;
  v.activations = h.activations;
  v.n = h.n;
  v.k = h.k;
  v.groups = h.groups;
  v.blocks = h.blocks;
  v.columns = h.columns;
  v.panels = panels_of(h);
  v.panel_bytes = h.columns / line_columns(h.layout) * line_bytes(h.layout);
  v.block = at<Block>(image, h.blocks_at);
  v.map = h.mapped != 0 ? at<int32_t>(image, h.map_at) : nullptr;
  v.scales = at<uint8_t>(image, h.scales_at);
  v.zeros = at<uint8_t>(image, h.zeros_at);
  v.weights = at<uint8_t>(image, h.weights_at);
  return v;
}

}  // namespace nm
