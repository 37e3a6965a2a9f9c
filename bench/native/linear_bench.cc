// linear: GB/s of weight bytes for few rows, GFLOP/s for many, and the share of what this machine gives in the same
// run: a read of the weight's bytes from memory, or the multiply-adds of the kernel from registers, whichever takes longer. Medians, since a mean
// would tell of the machine's other guests.
//
//   linear_bench [--tier NAME] [--threads 1,2] [--shape N,K] [--weights f32,bf16,i8,i4] [--rows 1,4,16,64,256]
//                [--activations exact,near-exact,int8] [--file FILE for rows] [--errors yes]
//
// --errors yes: instead of times, how far outputs are from float64, as a share of their size (root mean squares).
//
// Weights are taken in turn from copies that together exceed the last cache by far, as the layers of a model do.
#include <algorithm>
#include <cmath>
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

/** How x meets integer weights, and what multiplies then. */
struct Mode {
  const char* name;
  int32_t activations;
  bench::Multiply multiply;
};
constexpr Mode kModes[] = {{"exact", NM_ACTIVATIONS_EXACT, bench::kFma},
                           {"near-exact", NM_ACTIVATIONS_NEAR_EXACT, bench::kInt16},
                           {"int8", NM_ACTIVATIONS_INT8, bench::kInt8}};

struct Options {
  std::string tier, threads = "1,2", shape, weights = "f32,bf16,i8,i4", rows = "1,4,16,64,256", file,
                    activations = "near-exact", errors;
};

bool listed(const std::string& list, const char* name) {
  const size_t length = std::strlen(name), from = list.find(name);
  if (from == std::string::npos) return false;
  const bool begins = from == 0 || list[from - 1] == ',',
             ends = from + length == list.size() || list[from + length] == ',';
  return begins && ends;
}

/** Tiers that have no float kernels of their own. */
bool integers_only(int32_t tier) { return tier == NM_TIER_AVX2_VNNI || tier == NM_TIER_AVX512_VNNI; }

/** What multiplies: on the tier that has tiles, those from nine rows on. */
bench::Multiply multiply_of(int32_t tier, const Kind& kind, const Mode& mode, int64_t m) {
  const bool tiles = tier == NM_TIER_AVX512_AMX && mode.activations == NM_ACTIVATIONS_NEAR_EXACT;
  if (kind.bits == 0) return !tiles ? bench::kFma : kind.type == NM_BF16 ? bench::kTiles2Bf16 : bench::kTiles3Bf16;
  if (tier != NM_TIER_AVX512_AMX || m <= 8 || mode.multiply == bench::kFma) return mode.multiply;
  return mode.multiply == bench::kInt16 ? bench::kTilesInt16 : bench::kTilesInt8;
}

/** Float weights know no modes: they are measured in the first that is listed. With tiles they know near-exact. */
bool floats_due(const Options& options, const Mode& mode, int32_t tier) {
  if (tier == NM_TIER_AVX512_AMX) return mode.activations == NM_ACTIVATIONS_NEAR_EXACT;
  for (const Mode& one : kModes)
    if (listed(options.activations, one.name)) return &one == &mode;
  return false;
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
void measure(bench::Rows& out, const TestEngine& engine, int threads, const Kind& kind, const Mode& mode, int64_t n,
             int64_t k, const std::vector<int64_t>& rows) {
  int64_t bytes = 0;
  const std::vector<uint64_t> image = pack(engine, kind, n, k, &bytes);
  const int64_t copies = std::max<int64_t>(2, kRotated / bytes);
  bench::Aligned weights(copies * bytes);
  for (int64_t c = 0; c < copies; c++)
    std::memcpy(weights.data() + c * bytes, image.data(), static_cast<size_t>(bytes));
  bench::Roofs roofs(threads, engine.tier());
  for (const int64_t m : rows) {
    const bench::Multiply multiply = multiply_of(engine.tier(), kind, mode, m);
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
      multiplies.push_back(roofs.rate(multiply));
      call();  // so that the threads are awake, as within a step
      const double start = bench::now(threads);
      call();
      ours.push_back(bench::now(threads) - start);
    }
    const double flops = 2.0 * static_cast<double>(m * n * k);
    const double reading = static_cast<double>(bytes) / bench::spread_of(reads).median,
                 multiplying = flops / bench::spread_of(multiplies).median;
    const bool held_by_read = reading >= multiplying;
    const std::string weights = std::string(kind.name) + (kind.bits == 0 ? "" : std::string(" ") + mode.name);
    const std::string name = nmtest::text("linear %s %lld x %lld, m %lld", weights.c_str(), static_cast<long long>(n),
                                          static_cast<long long>(k), static_cast<long long>(m));
    out.add({name, engine.tier_name(), threads, bench::spread_of(ours),
             held_by_read ? static_cast<double>(bytes) : flops, std::max(reading, multiplying),
             held_by_read ? "read" : bench::multiply_name(multiply)});
  }
}

/** Normal weights, rounded as by nm_rtn in groups of 128, and normal x. */
void print_error(const TestEngine& engine, const Kind& kind, const Mode& mode) {
  constexpr int64_t kM = 8, kN = 64, kK = 4096, kGroup = 128;
  std::vector<float> w(kN * kK), scales(kK / kGroup * kN), x(kM * kK), y(kM * kN);
  std::vector<uint8_t> codes(kN * kK), zeros(kK / kGroup * kN);
  Random random(1);
  for (float& one : w) one = random.normal();
  for (float& one : x) one = random.normal();
  nm_codes out = args<nm_codes>();
  out.bits = kind.bits;
  out.n = kN;
  out.k = kK;
  out.group_size = kGroup;
  out.codes = codes.data();
  out.scales = scales.data();
  out.zeros = zeros.data();
  nm_rtn_args rtn = args<nm_rtn_args>();
  rtn.w = w.data();
  rtn.w_stride = kK;
  rtn.out = &out;
  NM_OK_CALL(nm_rtn(engine, &rtn));
  nm_weight weight = args<nm_weight>();
  weight.bits = kind.bits;
  weight.n = kN;
  weight.k = kK;
  weight.group_size = kGroup;
  weight.codes = codes.data();
  weight.scales = scales.data();
  weight.zeros = zeros.data();
  int64_t bytes = 0;
  NM_OK_CALL(nm_linear_pack_size(engine, &weight, &bytes));
  std::vector<uint64_t> image(static_cast<size_t>(bytes / 8));
  NM_OK_CALL(nm_linear_pack(engine, &weight, image.data(), bytes));
  nm_linear_args a = args<nm_linear_args>();
  a.m = kM;
  a.image = image.data();
  a.image_bytes = bytes;
  a.x = x.data();
  a.x_stride = kK;
  a.y = y.data();
  a.y_stride = kN;
  NM_OK_CALL(nm_linear(engine, &a));
  double error = 0, size = 0;
  for (int64_t m = 0; m < kM; m++)
    for (int64_t n = 0; n < kN; n++) {
      double sum = 0;
      for (int64_t k = 0; k < kK; k++) {
        const auto at = static_cast<size_t>(n * kK + k), group = static_cast<size_t>(k / kGroup * kN + n);
        sum += double{x[static_cast<size_t>(m * kK + k)]} * double{scales[group]} * (codes[at] - zeros[group]);
      }
      const double off = double{y[static_cast<size_t>(m * kN + n)]} - sum;
      error += off * off;
      size += sum * sum;
    }
  std::printf("%-11s %s %-10s error %.2e\n", engine.tier_name(), kind.name, mode.name, std::sqrt(error / size));
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
                {"--activations", &options.activations},
                {"--errors", &options.errors},
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
      for (const Mode& mode : kModes) {
        if (!listed(options.activations, mode.name)) continue;
        const TestEngine engine(tier, static_cast<int32_t>(threads), mode.activations);
        for (const auto& [n, k] : shapes)
          for (const Kind& kind : kKinds) {
            if (!listed(options.weights, kind.name)) continue;
            if (kind.bits == 0 && (!floats_due(options, mode, tier) || integers_only(tier))) continue;
            if (options.errors.empty())
              measure(rows, engine, static_cast<int>(threads), kind, mode, n, k, bench::numbers(options.rows));
            else if (kind.bits != 0)
              print_error(engine, kind, mode);
          }
      }
    }
  }
  return 0;
}
