// Quantizes a layer to 4 bits, packs it, multiplies with it and checks the result against a plain loop.
#include <nanomodel.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr int64_t M = 3, N = 96, K = 256, kGroup = 64, kGroups = K / kGroup;
constexpr int32_t kBits = 4;

/** An error code becomes an exception with the library's own words. */
void require(int32_t status) {
  if (status == NM_OK) return;
  char why[1024];
  nm_last_error(why, sizeof why);
  throw std::runtime_error(why);
}

/** A zeroed struct that knows its size, as the ABI asks. */
template <class T>
T args() {
  T a{};
  a.struct_size = sizeof(T);
  return a;
}

struct Destroy {
  void operator()(nm_engine* engine) const { nm_engine_destroy(engine); }
};
using Engine = std::unique_ptr<nm_engine, Destroy>;

Engine open() {
  auto options = args<nm_engine_options>();
  options.tier = NM_TIER_AUTO;
  nm_engine* engine;
  require(nm_engine_create(&options, &engine));
  return Engine(engine);
}

/** Numbers in [-1, 1), the same ones in each of these examples. */
std::vector<float> numbers(int64_t n, uint32_t seed) {
  std::vector<float> x(static_cast<size_t>(n));
  for (float& one : x) {
    seed = seed * 1664525u + 1013904223u;
    one = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return x;
}

/** A layer in 4 bits and its packed image. */
struct Layer {
  std::vector<uint8_t> codes = std::vector<uint8_t>(N * K), zeros = std::vector<uint8_t>(kGroups * N);
  std::vector<float> scales = std::vector<float>(kGroups * N);
  std::vector<std::byte> image;

  void quantize(nm_engine* engine, const std::vector<float>& w) {
    auto out = args<nm_codes>();
    out.bits = kBits;
    out.n = N;
    out.k = K;
    out.group_size = kGroup;
    out.codes = codes.data();
    out.scales = scales.data();
    out.zeros = zeros.data();
    auto rtn = args<nm_rtn_args>();
    rtn.sym = 1;
    rtn.scale_type = NM_F16;
    rtn.w = w.data();
    rtn.w_stride = K;
    rtn.out = &out;
    require(nm_rtn(engine, &rtn));
  }

  void pack(nm_engine* engine) {
    auto weight = args<nm_weight>();
    weight.bits = kBits;
    weight.n = N;
    weight.k = K;
    weight.group_size = kGroup;
    weight.codes = codes.data();
    weight.scales = scales.data();
    weight.zeros = zeros.data();
    int64_t bytes;
    require(nm_linear_pack_size(engine, &weight, &bytes));
    image.resize(static_cast<size_t>(bytes));
    require(nm_linear_pack(engine, &weight, image.data(), bytes));
  }

  std::vector<float> multiply(nm_engine* engine, const std::vector<float>& x) const {
    std::vector<float> y(M * N);
    auto linear = args<nm_linear_args>();
    linear.m = M;
    linear.image = image.data();
    linear.image_bytes = static_cast<int64_t>(image.size());
    linear.x = x.data();
    linear.x_stride = K;
    linear.y = y.data();
    linear.y_stride = N;
    require(nm_linear(engine, &linear));
    return y;
  }

  std::string kernel(nm_engine* engine) const {
    auto info = args<nm_linear_info>();
    require(nm_linear_query(engine, image.data(), static_cast<int64_t>(image.size()), &info));
    return info.kernel;
  }

  /**
   * The largest error, as a share of what rounding allows: (K + 4) units of 2^-24 of the sum of magnitudes, and x is
   * rounded to 16 bits (nanomodel.h).
   */
  double check(const std::vector<float>& x, const std::vector<float>& y) const {
    double worst = 0;
    for (size_t m = 0; m < M; m++)
      for (size_t n = 0; n < N; n++) {
        double sum = 0, magnitude = 0, largest = 0, weights = 0;
        for (size_t k = 0; k < K; k++) {
          const size_t at = k / kGroup * N + n;
          const double w = static_cast<double>(scales[at]) * (codes[n * K + k] - zeros[at]), v = x[m * K + k];
          sum += v * w;
          magnitude += std::fabs(v * w);
          largest = std::max(largest, std::fabs(v));
          weights += std::fabs(w);
        }
        const double allowed = (K + 4) * 0x1p-24 * magnitude + largest / 65000 * weights;
        const double error = std::fabs(y[m * N + n] - sum) / allowed;
        if (!(error <= worst)) worst = error;  // NaN too
      }
    return worst;
  }
};

}  // namespace

int main() try {
  int32_t major, minor;
  require(nm_abi_version(&major, &minor));
  if (major != NM_ABI_MAJOR) throw std::runtime_error("the library has another ABI than the header");
  const Engine engine = open();
  const std::vector<float> x = numbers(M * K, 2);
  Layer layer;
  layer.quantize(engine.get(), numbers(N * K, 1));
  layer.pack(engine.get());
  const std::vector<float> y = layer.multiply(engine.get(), x);
  const double worst = layer.check(x, y);
  std::printf("C++:    ABI %d.%d, %s, %d x %d in %d bits, y[0] = %.6f, error %.3f of what rounding allows\n", major,
              minor, layer.kernel(engine.get()).c_str(), static_cast<int>(N), static_cast<int>(K), kBits, y[0], worst);
  return worst <= 1 ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
