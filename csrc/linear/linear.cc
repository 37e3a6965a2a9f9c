#include "linear/linear.h"

#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

/** Work below this is not worth handing to another thread: some 20 us. */
constexpr int64_t kDirectChunkBytes = 1 << 18;
constexpr int64_t kBlockedChunkFmas = 1 << 20;
constexpr int64_t kArrangeChunk = 1 << 15;  // elements of x
constexpr int64_t kPanelsInFlight = 4;      // direct and integer kernels take so many at once
constexpr int64_t kIntegerRows = 64;        // of an item of an integer kernel
constexpr int64_t kIntegerChunkProducts = 1 << 21;
constexpr int64_t kTileChunkProducts = 1 << 25;

void check(const nm_linear_args& a, const ImageHeader& h) {
  check_at_least("m", a.m, 0);
  check_matrix("x", a.x, a.m, h.k, a.x_stride);
  check_matrix("y", a.y, a.m, h.n, a.y_stride);
  const int64_t y_bytes = matrix_bytes(a.m, h.n, a.y_stride);
  check_no_overlap("x", a.x, matrix_bytes(a.m, h.k, a.x_stride), "y", a.y, y_bytes);
  check_no_overlap("image", a.image, h.bytes, "y", a.y, y_bytes);
  if (a.bias != nullptr) {
    check_array("bias", a.bias, h.n);
    check_no_overlap("bias", a.bias, h.n * 4, "y", a.y, y_bytes);
  }
  check_array("cancel", a.cancel, 0);
  if (a.residual == nullptr) return;
  check_matrix("residual", a.residual, a.m, h.n, a.residual_stride);
  if (a.residual != a.y || (a.m > 1 && a.residual_stride != a.y_stride))
    check_no_overlap("residual", a.residual, matrix_bytes(a.m, h.n, a.residual_stride), "y", a.y, y_bytes);
}

/** The columns of the image of one row of x. */
void take_columns(const Image& image, const float* x, float* to) {
  for (int64_t c = 0; c < image.columns; c++) to[c] = image.map[c] < 0 ? 0.0f : x[image.map[c]];
}

void run_direct(Engine& engine, LinearJob& job, const LinearKernel& kernel, const int32_t* cancel) {
  const Image& image = job.image;
  if (image.map != nullptr) {
    float* taken = engine.shared_work().get<float>(job.m * image.columns);
    for (int64_t r = 0; r < job.m; r++) take_columns(image, job.x + r * job.x_stride, taken + r * image.columns);
    job.x = taken;
    job.x_stride = image.columns;
  }
  const int64_t chunk = kDirectChunkBytes / (1 + job.m / 4);  // from there on FMA takes longer than memory
  const int64_t grain = chunk / image.panel_bytes / kPanelsInFlight * kPanelsInFlight;
  engine.parallel_for(image.panels, std::max(grain, kPanelsInFlight), cancel,
                      [&](int64_t begin, int64_t end, int) { kernel.direct(job, begin, end); });
}

void run_blocked(Engine& engine, LinearJob& job, const LinearKernel& kernel, const int32_t* cancel) {
  const Image& image = job.image;
  const LinearKernels& kernels = *engine.kernels().linear;
  float* arranged = engine.shared_work().get<float>(job.m * image.columns);
  const int64_t tiles = (job.m + kernels.tile_rows - 1) / kernels.tile_rows;
  engine.parallel_for(image.blocks * tiles, kArrangeChunk / (kernels.tile_rows * kMaxBlock), cancel,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t i = begin; i < end; i++) kernels.arrange(job, i / tiles, i % tiles, arranged);
                      });
  job.x = arranged;

  // Fewer panels an item where that leaves threads without work.
  const int64_t row_items = (job.m + kBlockedRows - 1) / kBlockedRows;
  int64_t panels = kBlockedPanels;
  while (panels > 2 && row_items * ((image.panels + panels - 1) / panels) < 4 * engine.threads()) panels /= 2;
  const int64_t panel_items = (image.panels + panels - 1) / panels;
  const int64_t fmas = std::min(job.m, kBlockedRows) * panels * kPanel * image.columns;
  for (int t = 0; t < engine.threads(); t++) engine.work(t).get<float>(kBlockedWork);
  engine.parallel_for(row_items * panel_items, kBlockedChunkFmas / fmas + 1, cancel,
                      [&](int64_t begin, int64_t end, int worker) {
                        float* work = engine.work(worker).get<float>(kBlockedWork);
                        for (int64_t i = begin; i < end; i++) {
                          const int64_t row = i / panel_items * kBlockedRows, panel = i % panel_items * panels;
                          kernel.blocked(job, row, std::min(row + kBlockedRows, job.m), panel,
                                         std::min(panel + panels, image.panels), work);
                        }
                      });
}

/** x as integers: `rows` rows of which M are filled, and `slack` bytes behind the last. */
template <class Kernel>
void narrow_rows(Engine& engine, LinearJob& job, const Kernel& kernel, int64_t rows, int64_t slack,
                 const int32_t* cancel) {
  const Image& image = job.image;
  const int64_t blocks = (job.m * image.blocks + 7) / 8 * 8;  // x begins with a cache line
  // Tiles of floats take whole 32 columns. An odd number of cache lines: rows 4096 bytes apart would share a set of the first cache.
  job.narrow.row_bytes = (((image.columns + 31) / 32 * 32 * kernel.x_bytes + 63) / 64 | 1) * 64;
  int32_t* work = engine.shared_work().get<int32_t>((rows * job.narrow.row_bytes + slack) / 4 + 2 * blocks);
  job.narrow.first.sum = work;
  job.narrow.first.scale = reinterpret_cast<float*>(work + blocks);
  job.narrow.first.x = work + 2 * blocks;
  engine.parallel_for(job.m, kArrangeChunk / image.columns + 1, cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) kernel.narrow(job, r, job.narrow.row(image, r));
  });
}

void run_integer(Engine& engine, LinearJob& job, const IntegerKernel& kernel, const int32_t* cancel) {
  const Image& image = job.image;
  narrow_rows(engine, job, kernel, job.m, 0, cancel);

  const int64_t rows = std::min(job.m, kIntegerRows), row_items = (job.m + rows - 1) / rows;
  const int64_t panel_items = (image.panels + kPanelsInFlight - 1) / kPanelsInFlight;
  const int64_t products = rows * kPanelsInFlight * kPanel * image.columns;
  const int64_t bytes = kPanelsInFlight * image.panel_bytes;
  const int64_t grain = std::max<int64_t>(1, std::min(kDirectChunkBytes / bytes, kIntegerChunkProducts / products));
  engine.parallel_for(row_items * panel_items, grain, cancel, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      // The rows of some panels, one item after the other: those stay in the cache.
      const int64_t row = i % row_items * rows, panel = i / row_items * kPanelsInFlight;
      kernel.product(job, row, std::min(row + rows, job.m), panel, std::min(panel + kPanelsInFlight, image.panels));
    }
  });
}

void run_tiles(Engine& engine, LinearJob& job, const TileKernel& kernel, const int32_t* cancel) {
  const Image& image = job.image;
  const int64_t whole = (job.m + kTileRowsAtOnce - 1) / kTileRowsAtOnce * kTileRowsAtOnce;
  narrow_rows(engine, job, kernel, whole, kTileSlack, cancel);

  // Fewer panels an item where that leaves threads without work.
  const int64_t row_items = (job.m + kItemRows - 1) / kItemRows;
  int64_t panels = kItemPanels;
  while (panels > 2 && row_items * ((image.panels + panels - 1) / panels) < 4 * engine.threads()) panels /= 2;
  const int64_t panel_items = (image.panels + panels - 1) / panels;
  const int64_t products = std::min(job.m, kItemRows) * panels * kPanel * image.columns;
  for (int t = 0; t < engine.threads(); t++) engine.work(t).get<uint8_t>(kTileWork);
  engine.parallel_for(row_items * panel_items, kTileChunkProducts / products + 1, cancel,
                      [&](int64_t begin, int64_t end, int worker) {
                        uint8_t* work = engine.work(worker).get<uint8_t>(kTileWork);
                        for (int64_t i = begin; i < end; i++) {
                          const int64_t row = i / panel_items * kItemRows, panel = i % panel_items * panels;
                          kernel.product(job, row, std::min(row + kItemRows, job.m), panel,
                                         std::min(panel + panels, image.panels), work);
                        }
                      });
}

/** What the engine asks for, else the weight, else near exact. */
int32_t activations_of(const Engine& engine, const Image& image) {
  if (engine.activations() != NM_ACTIVATIONS_AUTO) return engine.activations();
  return image.activations != NM_ACTIVATIONS_AUTO ? image.activations : NM_ACTIVATIONS_NEAR_EXACT;
}

/** NULL: float32 serves. */
const IntegerKernel* integer_kernel(Engine& engine, const Image& image) {
  const int32_t activations = activations_of(engine, image);
  if (image.layout < kLayoutI8 || activations == NM_ACTIVATIONS_EXACT) return nullptr;
  const IntegerKernels& kernels = *engine.kernels().integer;
  const IntegerKernel* of = activations == NM_ACTIVATIONS_NEAR_EXACT ? kernels.x16 : kernels.x8;
  return of[image.layout - kLayoutI8].product == nullptr ? nullptr : of + (image.layout - kLayoutI8);
}

/** NULL: the tier has no tiles for it. */
const TileKernel* tile_kernel(Engine& engine, const Image& image) {
  const int32_t activations = activations_of(engine, image);
  const TileKernels* kernels = engine.kernels().tiles;
  if (kernels == nullptr || activations == NM_ACTIVATIONS_EXACT) return nullptr;
  if (image.layout < kLayoutI8)
    return engine.activations() == NM_ACTIVATIONS_NEAR_EXACT ? kernels->floats + image.layout : nullptr;
  return (activations == NM_ACTIVATIONS_NEAR_EXACT ? kernels->x16 : kernels->x8) + (image.layout - kLayoutI8);
}

int32_t largest_integer(int32_t activations) {
  return activations == NM_ACTIVATIONS_INT4 ? 7 : activations == NM_ACTIVATIONS_INT8 ? 127 : 32767;
}

}  // namespace

const char* linear_kernel_name(Engine& engine, const Image& image) {
  if (const TileKernel* tiles = tile_kernel(engine, image); tiles != nullptr) return tiles->name;
  const IntegerKernel* integer = integer_kernel(engine, image);
  return integer != nullptr ? integer->name : engine.kernels().linear->by_layout[image.layout].name;
}

void linear(Engine& engine, const nm_linear_args& args) {
  const ImageHeader& header = check_image(args.image, args.image_bytes);
  check(args, header);
  if (args.m == 0) return;
  LinearJob job = {};
  job.image = view_image(header);
  job.m = args.m;
  job.x = args.x;
  job.x_stride = args.x_stride;
  job.y = args.y;
  job.y_stride = args.y_stride;
  job.bias = args.bias;
  job.residual = args.residual;
  job.residual_stride = args.residual_stride;
  const TileKernel* tiles = tile_kernel(engine, job.image);
  if (const IntegerKernel* integer = integer_kernel(engine, job.image); integer != nullptr) {
    job.x_most = largest_integer(activations_of(engine, job.image));
    job.scale_per_row = job.image.activations != NM_ACTIVATIONS_AUTO && job.x_most != 32767;
    if (tiles != nullptr && job.m > engine.kernels().tiles->direct_rows)
      return run_tiles(engine, job, *tiles, args.cancel);
    return run_integer(engine, job, *integer, args.cancel);
  }
  if (tiles != nullptr) return run_tiles(engine, job, *tiles, args.cancel);
  const LinearKernels& kernels = *engine.kernels().linear;
  const LinearKernel& kernel = kernels.by_layout[job.image.layout];
  if (job.m <= kernels.direct_rows)
    run_direct(engine, job, kernel, args.cancel);
  else
    run_blocked(engine, job, kernel, args.cancel);
}

}  // namespace nm
