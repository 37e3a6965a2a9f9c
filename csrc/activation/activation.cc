#include "activation/activation.h"

#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkPieces = 16;  // 32 K elements, some 20 us

void check_in_place(const char* name, const float* x, int64_t stride, const nm_activation_args& a) {
  if (x == a.y && a.rows > 1 && stride != a.y_stride)
    fail(NM_ERR_ARGUMENT, "y_stride: got %lld, expected %s_stride (%lld), since y is %s",
         static_cast<long long>(a.y_stride), name, static_cast<long long>(stride), name);
}

}  // namespace

void activate(Engine& engine, const nm_activation_args& a) {
  check_range("kind", a.kind, NM_SILU, NM_RELU);
  check_range("rows", a.rows, 0, kMaxBytes);
  check_range("cols", a.cols, 0, kMaxBytes);
  check_matrix("x", a.x, a.rows, a.cols, a.x_stride);
  check_matrix("y", a.y, a.rows, a.cols, a.y_stride);
  check_in_place("x", a.x, a.x_stride, a);
  if (a.up != nullptr) {
    check_matrix("up", a.up, a.rows, a.cols, a.up_stride);
    check_in_place("up", a.up, a.up_stride, a);
  }
  check_array("cancel", a.cancel, 0);
  const int64_t pieces = (a.cols + kActivationPiece - 1) / kActivationPiece;
  if (pieces == 0) return;
  const int64_t grain = a.cols < kActivationPiece ? kChunkPieces * kActivationPiece / a.cols : kChunkPieces;
  const auto kernel = engine.kernels().activation->activate;
  engine.parallel_for(a.rows * pieces, grain, a.cancel,
                      [&](int64_t begin, int64_t end, int) { kernel(a, begin, end); });
}

}  // namespace nm
