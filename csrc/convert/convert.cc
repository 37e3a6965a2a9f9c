#include "convert/convert.h"

#include "core/check.h"
#include "core/dispatch.h"
#include "core/engine.h"

namespace nm {
namespace {

constexpr int64_t kChunkElements = 1 << 16;  // some 20 us: bound by memory

int64_t size_of(int32_t type) {
  switch (type) {
    case NM_F64:
      return 8;
    case NM_F32:
      return 4;
    case NM_F16:
    case NM_BF16:
      return 2;
    default:
      return 1;
  }
}

void check_typed(const char* name, const void* address, int32_t type, int64_t count) {
  switch (size_of(type)) {
    case 8:
      return check_array(name, static_cast<const double*>(address), count);
    case 4:
      return check_array(name, static_cast<const float*>(address), count);
    case 2:
      return check_array(name, static_cast<const uint16_t*>(address), count);
    default:
      return check_array(name, static_cast<const uint8_t*>(address), count);
  }
}

}  // namespace

void convert(Engine& engine, const nm_convert_args& a) {
  check_range("from", a.from, NM_F32, NM_F8_E5M2);
  check_range("to", a.to, NM_F32, NM_BF16);
  check_typed("x", a.x, a.from, a.count);
  check_typed("y", a.y, a.to, a.count);
  check_array("cancel", a.cancel, 0);
  const ConvertKernels& kernels = *engine.kernels().convert;
  const int64_t size = size_of(a.from);
  engine.parallel_for(a.count, kChunkElements, a.cancel, [&](int64_t begin, int64_t end, int) {
    const void* x = static_cast<const uint8_t*>(a.x) + begin * size;
    if (a.to == NM_F32)
      kernels.to_f32(a.from, x, end - begin, static_cast<float*>(a.y) + begin);
    else if (a.to == NM_F16)
      kernels.to_f16(a.from, x, end - begin, static_cast<uint16_t*>(a.y) + begin);
    else
      kernels.to_bf16(a.from, x, end - begin, static_cast<uint16_t*>(a.y) + begin);
  });
}

void embedding(Engine& engine, const nm_embedding_args& a) {
  check_range("type", a.type, NM_F32, NM_BF16);
  check_range("t", a.t, 0, INT32_MAX);
  check_range("rows", a.rows, 1, INT32_MAX);
  check_range("cols", a.cols, 1, kMaxBytes);
  if (a.type == NM_F32)
    check_matrix("table", static_cast<const float*>(a.table), a.rows, a.cols, a.table_stride);
  else
    check_matrix("table", static_cast<const uint16_t*>(a.table), a.rows, a.cols, a.table_stride);
  check_array("ids", a.ids, a.t);
  check_matrix("y", a.y, a.t, a.cols, a.y_stride);
  if (a.residual != nullptr) {
    check_matrix("residual", a.residual, a.t, a.cols, a.residual_stride);
    if (a.residual != a.y || (a.t > 1 && a.residual_stride != a.y_stride))
      check_no_overlap("residual", a.residual, matrix_bytes(a.t, a.cols, a.residual_stride), "y", a.y,
                       matrix_bytes(a.t, a.cols, a.y_stride));
  }
  check_array("cancel", a.cancel, 0);
  for (int64_t t = 0; t < a.t; t++)
    if (a.ids[t] < 0 || a.ids[t] >= a.rows)
      fail(NM_ERR_ARGUMENT, "ids[%lld]: got %d, expected 0..%lld", static_cast<long long>(t), a.ids[t],
           static_cast<long long>(a.rows - 1));
  const auto to_f32 = engine.kernels().convert->to_f32;
  const int64_t row_bytes = a.table_stride * size_of(a.type);
  if (a.residual != nullptr)
    for (int w = 0; w < engine.threads(); w++) engine.work(w).get<float>(a.cols);
  engine.parallel_for(a.t, kChunkElements / a.cols + 1, a.cancel, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; t++) {
      const void* row = static_cast<const uint8_t*>(a.table) + a.ids[t] * row_bytes;
      float* y = a.y + t * a.y_stride;
      if (a.residual == nullptr) {
        to_f32(a.type, row, a.cols, y);
        continue;
      }
      float* term = engine.work(worker).get<float>(a.cols);
      to_f32(a.type, row, a.cols, term);
      const float* residual = a.residual + t * a.residual_stride;
      for (int64_t i = 0; i < a.cols; i++) y[i] = term[i] + residual[i];
    }
  });
}

}  // namespace nm
