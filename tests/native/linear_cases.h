// Weights of every layout between guard pages, and what they mean in float64: for the tests of linear.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>

#include "convert/numbers.h"
#include "harness.h"

namespace nmtest {

inline size_t at(int64_t i) { return static_cast<size_t>(i); }

struct Shape {
  int32_t bits, type;  // bits 0: float weights of this type
  int64_t n, k, group;
  bool sym, act_order, half_scales;
};

inline std::string name(const Shape& s) {
  return text("bits %d type %d N %lld K %lld group %lld%s%s%s", s.bits, s.type, static_cast<long long>(s.n),
              static_cast<long long>(s.k), static_cast<long long>(s.group), s.sym ? " sym" : "",
              s.act_order ? " act-order" : "", s.half_scales ? " f16 scales" : "");
}

inline float rounded(float x, int32_t type) {
  using namespace nm::numbers;
  if (type == NM_F16) return std::bit_cast<float>(f32_from_f16(f16_from_f64(double{x})));
  if (type == NM_BF16) return std::bit_cast<float>(f32_from_bf16(bf16_from_f64(double{x})));
  return x;
}

/** A random weight between guard pages, and what it means in float64. */
class Weight {
 public:
  Weight(const Shape& s, uint64_t seed, Edge edge = Edge::kEnd) : shape(s), value(at(s.n * s.k)) {
    Random random(seed);
    w = args<nm_weight>();
    w.bits = shape.bits;
    w.type = shape.type;
    w.n = shape.n;
    w.k = shape.k;
    w.group_size = shape.group;
    if (shape.bits == 0)
      fill_float(random, edge);
    else
      fill_codes(random, edge);
  }

  const Shape shape;
  nm_weight w;
  std::vector<double> value;  // [N,K]

  /** Rounding errors of one output are at most gamma(roundings) * sum |x| |w|. */
  double roundings() const {
    const int64_t group = shape.bits == 0 ? shape.k : shape.group;
    const int64_t chain = std::min<int64_t>(256, group), per_group = (group + 255) / 256;
    return static_cast<double>(chain + per_group * ((shape.k - 1) / group + 1) + 4);
  }

 private:
  void fill_float(Random& random, Edge edge) {
    const int64_t count = shape.n * shape.k;
    if (shape.type == NM_F32)
      f32_ = std::make_unique<Guarded<float>>(count, edge);
    else
      f16_ = std::make_unique<Guarded<uint16_t>>(count, edge);
    for (int64_t i = 0; i < count; i++) {
      const float x = rounded(random.normal(), shape.type);
      value[at(i)] = double{x};
      if (shape.type == NM_F32)
        (*f32_)[i] = x;
      else
        (*f16_)[i] = static_cast<uint16_t>(shape.type == NM_F16 ? nm::numbers::f16_from_f64(double{x})
                                                                : nm::numbers::bf16_from_f64(double{x}));
    }
    w.data = shape.type == NM_F32 ? static_cast<void*>(f32_->data()) : f16_->data();
  }

  void fill_codes(Random& random, Edge edge) {
    const int64_t n = shape.n, k = shape.k, groups = (k - 1) / shape.group + 1;
    codes_ = std::make_unique<Guarded<uint8_t>>(n * k, edge);
    f32_ = std::make_unique<Guarded<float>>(groups * n, edge);
    zeros_ = std::make_unique<Guarded<uint8_t>>(groups * n, edge);
    g_idx_ = std::make_unique<Guarded<int32_t>>(k, edge);
    for (uint8_t& code : *codes_) code = static_cast<uint8_t>(random.below(1 << shape.bits));
    for (float& scale : *f32_) scale = rounded(random.uniform(-0.1f, 0.2f), shape.half_scales ? NM_F16 : NM_F32);
    for (uint8_t& zero : *zeros_)
      zero = static_cast<uint8_t>(shape.sym ? 1 << (shape.bits - 1) : random.below(1 << shape.bits));
    for (int64_t i = 0; i < k; i++) (*g_idx_)[i] = static_cast<int32_t>(i / shape.group);
    if (shape.act_order)
      for (int64_t i = k - 1; i > 0; i--) std::swap((*g_idx_)[i], (*g_idx_)[random.below(i + 1)]);
    for (int64_t r = 0; r < n; r++)
      for (int64_t c = 0; c < k; c++) {
        const int64_t g = (*g_idx_)[c];
        value[at(r * k + c)] = double{(*f32_)[g * n + r]} * ((*codes_)[r * k + c] - (*zeros_)[g * n + r]);
      }
    w.codes = codes_->data();
    w.scales = f32_->data();
    w.zeros = shape.sym ? nullptr : zeros_->data();
    w.g_idx = shape.act_order ? g_idx_->data() : nullptr;
  }

  std::unique_ptr<Guarded<float>> f32_;
  std::unique_ptr<Guarded<uint16_t>> f16_;
  std::unique_ptr<Guarded<uint8_t>> codes_, zeros_;
  std::unique_ptr<Guarded<int32_t>> g_idx_;
};

using Bytes = Guarded<uint8_t>;

inline std::unique_ptr<Bytes> pack(nm_engine* engine, const nm_weight& w, Edge edge = Edge::kEnd) {
  int64_t bytes = 0;
  NM_OK_CALL(nm_linear_pack_size(engine, &w, &bytes));
  auto image = std::make_unique<Bytes>(bytes, edge);
  NM_OK_CALL(nm_linear_pack(engine, &w, image->data(), bytes));
  return image;
}

inline nm_linear_args linear_args(const Bytes& image, int64_t m, const float* x, int64_t k, float* y, int64_t n) {
  nm_linear_args a = args<nm_linear_args>();
  a.m = m;
  a.image = image.data();
  a.image_bytes = image.size();
  a.x = x;
  a.x_stride = k;
  a.y = y;
  a.y_stride = n;
  return a;
}

template <class Floats>
void fill(Floats&& to, uint64_t seed) {
  Random random(seed);
  for (float& x : to) x = random.normal();
}

}  // namespace nmtest
