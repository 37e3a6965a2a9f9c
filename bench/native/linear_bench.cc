// linear: GB/s of weight bytes for few rows, GFLOP/s for many, and the share of what this machine gives in the same
// run: a read of the weight's bytes from memory, or FMA from registers, whichever takes longer. Medians, since a mean
// would tell of the machine's other guests.
//
//   linear_bench [--tier NAME] [--threads 1,2] [--shape N,K] [--weights f32,bf16,i8,i4] [--rows 1,4,16,64,256]
//                [--file FILE for rows]
//
// Weights are taken in turn from copies that together exceed the last cache by far, as the layers of a model do.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bench_rows.h"
#include "harness.h"

using nmtest::args;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

constexpr int64_t kRotated = int64_t{384} << 20;  // bytes

struct Kind {
  const char* name;
  int32_t bits, type;
};
constexpr Kind kKinds[] = {{"f32", 0, NM_F32}, {"bf16", 0, NM_BF16}, {"i8", 8, 0}, {"i4", 4, 0}};

struct Options {
  std::string tier, threads = "1,2", shape, weights = "f32,bf16,i8,i4", rows = "1,4,16,64,256", file;
};

bool listed(const std::string& list, const char* name) {
  const size_t length = std::strlen(name), from = list.find(name);
  if (from == std::string::npos) return false;
  const bool begins = from == 0 || list[from - 1] == ',',
             ends = from + length == list.size() || list[from + length] == ',';
  return begins && ends;
}

/** The packed image of a weight of arbitrary numbers, groups of 128. */
std::vector<uint64_t> pack(nm_engine* engine, const Kind& kind, int64_t n, int64_t k, int64_t* bytes) {
  const size_t count = static_cast<size_t>(n * k), groups = static_cast<size_t>((k + 127) / 128 * n);
  std::vector<float> floats;
  std::vector<uint8_t> codes, zeros;
  std::vector<float> scales;
  nm_weight w = args<nm_weight>();
  w.bits = kind.bits;
  w.type = kind.type;
  w.n = n;
  w.k = k;
  w.group_size = std::min<int64_t>(128, k);
  Random random(1);
  if (kind.bits == 0) {
    floats.resize(count);
    for (float& x : floats) x = 0x1p-8f * static_cast<float>(1 + (random.bits() & 255));
    w.data = floats.data();  // as halves: other numbers, twice as many as needed
  } else {
    codes.resize(count);
    zeros.resize(groups, static_cast<uint8_t>(1 << (kind.bits - 1)));
    scales.resize(groups, 0x1p-7f);
    for (uint8_t& c : codes) c = static_cast<uint8_t>(random.bits() & ((1u << kind.bits) - 1u));
    w.codes = codes.data();
    w.zeros = zeros.data();
    w.scales = scales.data();
  }
  NM_OK_CALL(nm_linear_pack_size(engine, &w, bytes));
  std::vector<uint64_t> image(static_cast<size_t>(*bytes / 8));
  NM_OK_CALL(nm_linear_pack(engine, &w, image.data(), *bytes));
  nm_linear_info info = args<nm_linear_info>();
  NM_OK_CALL(nm_linear_query(engine, image.data(), *bytes, &info));
  *bytes = info.bytes;
  return image;
}

/** One row: calls alternate with samples of the roofs. */
void measure(bench::Rows& out, const TestEngine& engine, int threads, const Kind& kind, int64_t n, int64_t k,
             const std::vector<int64_t>& rows) {
  int64_t bytes = 0;
  const std::vector<uint64_t> image = pack(engine, kind, n, k, &bytes);
  const int64_t copies = std::max<int64_t>(2, kRotated / bytes);
  bench::Aligned weights(copies * bytes);
  for (int64_t c = 0; c < copies; c++)
    std::memcpy(weights.data() + c * bytes, image.data(), static_cast<size_t>(bytes));
  bench::Roofs roofs(threads, engine.tier());
  for (const int64_t m : rows) {
    std::vector<float> x(static_cast<size_t>(m * k)), y(static_cast<size_t>(m * n));
    Random random(2);
    for (float& one : x) one = random.normal();
    nm_linear_args a = args<nm_linear_args>();
    a.m = m;
    a.image_bytes = bytes;
    a.x = x.data();
    a.x_stride = k;
    a.y = y.data();
    a.y_stride = n;
    int64_t turn = 0;
    const auto call = [&] {
      a.image = weights.data() + turn++ % copies * bytes;
      NM_OK_CALL(nm_linear(engine, &a));
    };
    std::vector<double> ours, reads, multiplies;
    for (const double end = bench::now(2) + 1; ours.size() < 15 || bench::now(2) < end;) {
      reads.push_back(roofs.rate(bench::kRead, weights.data() + turn++ % copies * bytes, bytes));
      multiplies.push_back(roofs.fma_rate());
      call();  // so that the threads are awake, as within a step
      const double start = bench::now(threads);
      call();
      ours.push_back(bench::now(threads) - start);
    }
    const double flops = 2.0 * static_cast<double>(m * n * k);
    const double reading = static_cast<double>(bytes) / bench::spread_of(reads).median,
                 multiplying = flops / bench::spread_of(multiplies).median;
    const bool held_by_read = reading >= multiplying;
    const std::string name = nmtest::text("linear %s %lld x %lld, m %lld", kind.name, static_cast<long long>(n),
                                          static_cast<long long>(k), static_cast<long long>(m));
    out.add({name, engine.tier_name(), threads, bench::spread_of(ours),
             held_by_read ? static_cast<double>(bytes) : flops, std::max(reading, multiplying),
             held_by_read ? "read" : "FMA"});
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bench::parse(argc, argv,
               {{"--tier", &options.tier},
                {"--threads", &options.threads},
                {"--shape", &options.shape},
                {"--weights", &options.weights},
                {"--rows", &options.rows},
                {"--file", &options.file}});
  bench::print_machine();
  std::vector<std::pair<int64_t, int64_t>> shapes = {{1024, 1024}, {4096, 4096}, {4096, 11008}};
  if (!options.shape.empty()) {
    const std::vector<int64_t> nk = bench::numbers(options.shape);
    shapes = {{nk.at(0), nk.at(1)}};
  }
  bench::Rows rows(options.file.empty() ? nullptr : options.file.c_str());
  for (const int32_t tier : nmtest::tiers()) {
    if (tier == NM_TIER_REFERENCE || (!options.tier.empty() && options.tier != nmtest::name_of_tier(tier))) continue;
    for (const int64_t threads : bench::numbers(options.threads)) {
      const TestEngine engine(tier, static_cast<int32_t>(threads));
      for (const auto& [n, k] : shapes)
        for (const Kind& kind : kKinds)
          if (listed(options.weights, kind.name))
            measure(rows, engine, static_cast<int>(threads), kind, n, k, bench::numbers(options.rows));
    }
  }
  return 0;
}
