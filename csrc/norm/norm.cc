#include "norm/norm.h"

#include <cmath>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkElements = 1 << 17;  // some 20 us

void check(const nm_norm_args& a) {
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("groups", a.groups, 1, kMaxBytes);
  check_range("cols", a.cols, 1, kMaxBytes);
  if (a.groups > kMaxBytes / a.cols)
    fail(NM_ERR_ARGUMENT, "groups: %lld x %lld columns overflow", static_cast<long long>(a.groups),
         static_cast<long long>(a.cols));
  if (!(a.eps >= 0) || !std::isfinite(a.eps))
    fail(NM_ERR_ARGUMENT, "eps: got %g, expected a finite number >= 0", static_cast<double>(a.eps));
  const int64_t width = a.groups * a.cols;
  check_matrix("x", a.x, a.rows, width, a.x_stride);
  check_matrix("y", a.y, a.rows, width, a.y_stride);
  if (a.x == a.y && a.rows > 1 && a.x_stride != a.y_stride)
    fail(NM_ERR_ARGUMENT, "y_stride: got %lld, expected x_stride (%lld), since y is x",
         static_cast<long long>(a.y_stride), static_cast<long long>(a.x_stride));
  if (a.weight != nullptr) check_array("weight", a.weight, a.cols);
  if (a.bias != nullptr) check_array("bias", a.bias, a.cols);
  check_array("cancel", a.cancel, 0);
}

template <class Kernel>
void run(Engine& engine, const nm_norm_args& a, Kernel kernel) {
  const int64_t grain = kChunkElements / a.cols + 1;
  engine.parallel_for(a.rows * a.groups, grain, a.cancel,
                      [&](int64_t begin, int64_t end, int) { kernel(a, begin, end); });
}

}  // namespace

void rms_norm(Engine& engine, const nm_norm_args& args) {
  check(args);
  if (args.bias != nullptr) fail(NM_ERR_ARGUMENT, "bias: expected NULL, an RMS norm has none");
  run(engine, args, engine.kernels().norm->rms);
}

void layer_norm(Engine& engine, const nm_norm_args& args) {
  check(args);
  run(engine, args, engine.kernels().norm->layer);
}

}  // namespace nm
