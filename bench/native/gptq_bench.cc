// GPTQ: seconds and GFLOP/s of the three steps, and their share of the FMA from registers that this machine gives in the
// same run (float64 for the factor: half of it). Counted are the operations that the mathematics asks for: T K^2 for the
// Gram matrix, K^3 / 3 for the factor, N K^2 for the column loop. Medians; calls alternate with pieces of the roof; on
// one thread by the thread's own clock.
//
//   gptq_bench [--tier NAME] [--threads 1,2] [--k 1024,2048,4096] [--rows 16384] [--step gram,factor,quantize]
//              [--file ROWS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bench_rows.h"
#include "calibrate/strips.h"
#include "harness.h"

using nmtest::args;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

struct Options {
  std::string tier, threads = "1,2", k = "1024,2048,4096", rows = "16384", step = "gram,factor,quantize", file;
};

/** One module: inputs, their Gram matrix, a factor, weights of N = K. */
class Module {
 public:
  Module(const TestEngine& engine, int threads, int64_t k, int64_t rows)
      : engine_(engine), threads_(threads), k_(k), rows_(rows), roofs_(threads, engine.tier()) {
    const int64_t chunk = std::min<int64_t>(rows, 2048);  // what a batch of calibration brings at once
    x_.resize(static_cast<size_t>(chunk * k));
    w_.resize(static_cast<size_t>(k * k));
    Random random(1);
    for (float& x : x_) x = random.normal();
    for (float& w : w_) w = 0.05f * random.normal();
    const auto triangle = static_cast<size_t>(nm::triangle(nm::strips_of(k)));
    gram_.resize(triangle);
    factor_.resize(triangle);
    pivots_.resize(static_cast<size_t>(k));
    perm_.resize(static_cast<size_t>(k));
    codes_.resize(static_cast<size_t>(k * k));
    scales_.resize(static_cast<size_t>((k + 127) / 128 * k));
    zeros_.resize(scales_.size());
    gram();
    factor();
  }

  void gram() {
    nm_gram_args a = args<nm_gram_args>();
    a.k = a.x_stride = k_;
    a.x = x_.data();
    a.gram = gram_.data();
    const auto chunk = static_cast<int64_t>(x_.size()) / k_;
    for (int64_t row = 0; row < rows_; row += chunk) {
      a.t = std::min(chunk, rows_ - row);
      NM_OK_CALL(nm_gram(engine_, &a));
    }
  }

  void factor() {
    nm_gptq_factor_args a = args<nm_gptq_factor_args>();
    a.order = NM_GPTQ_ORDER_GROUP_AWARE;
    a.rows = rows_;
    a.k = k_;
    a.group_size = 128;
    a.gram = gram_.data();
    a.damp = 0.05;
    a.damp_increment = 0.01;
    a.factor = factor_.data();
    a.pivots = pivots_.data();
    a.perm = perm_.data();
    double used[2];
    a.used = used;
    NM_OK_CALL(nm_gptq_factor(engine_, &a));
  }

  void quantize() {
    nm_codes out = args<nm_codes>();
    out.bits = 4;
    out.n = out.k = k_;
    out.group_size = 128;
    out.codes = codes_.data();
    out.scales = scales_.data();
    out.zeros = zeros_.data();
    nm_gptq_quantize_args a = args<nm_gptq_quantize_args>();
    a.sym = 1;
    a.scale_type = NM_F16;
    a.w = w_.data();
    a.w_stride = k_;
    a.factor = factor_.data();
    a.pivots = pivots_.data();
    a.perm = perm_.data();
    a.out = &out;
    double loss;
    a.loss = &loss;
    NM_OK_CALL(nm_gptq_quantize(engine_, &a));
  }

  /** Calls in turn with samples of the roof, of which `share` can be had: half, where numbers are float64. */
  void measure(bench::Rows& to, const char* what, double flops, double share, bench::Multiply multiply,
               const std::function<void()>& call) {
    std::vector<double> ours, roof;
    for (const double end = bench::now(2) + 2; ours.size() < 3 || (bench::now(2) < end && ours.size() < 25);) {
      roof.push_back(share * roofs_.rate(multiply));
      const double start = bench::now(threads_);
      call();
      ours.push_back(bench::now(threads_) - start);
    }
    const std::string name = nmtest::text("gptq_%s K %lld", what, static_cast<long long>(k_));
    to.add({name, engine_.tier_name(), threads_, bench::spread_of(ours), flops, flops / bench::spread_of(roof).median,
            bench::multiply_name(multiply)});
  }

 private:
  const TestEngine& engine_;
  const int threads_;
  const int64_t k_, rows_;
  bench::Roofs roofs_;
  std::vector<float> x_, w_, factor_, pivots_, scales_;
  std::vector<double> gram_;
  std::vector<int32_t> perm_;
  std::vector<uint8_t> codes_, zeros_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bench::parse(argc, argv,
               {{"--tier", &options.tier},
                {"--threads", &options.threads},
                {"--k", &options.k},
                {"--rows", &options.rows},
                {"--step", &options.step},
                {"--file", &options.file}});
  bench::print_machine();
  bench::Rows to(options.file.empty() ? nullptr : options.file.c_str());
  const int64_t rows = bench::numbers(options.rows).at(0);
  const auto wanted = [&](const char* step) { return options.step.find(step) != std::string::npos; };
  for (const int32_t tier : nmtest::tiers()) {
    if (tier == NM_TIER_REFERENCE || (!options.tier.empty() && options.tier != nmtest::name_of_tier(tier))) continue;
    for (const int64_t threads : bench::numbers(options.threads)) {
      const TestEngine engine(tier, static_cast<int32_t>(threads));
      for (const int64_t k : bench::numbers(options.k)) {
        Module m(engine, static_cast<int>(threads), k, rows);
        const auto K = static_cast<double>(k);
        const bench::Multiply grams = tier == NM_TIER_AVX512_AMX ? bench::kTiles6Bf16 : bench::kFma;
        if (wanted("gram")) m.measure(to, "gram", static_cast<double>(rows) * K * K, 1, grams, [&] { m.gram(); });
        if (wanted("factor")) m.measure(to, "factor", K * K * K / 3, 0.5, bench::kFma, [&] { m.factor(); });
        if (wanted("quantize")) m.measure(to, "quantize", K * K * K, 1, bench::kFma, [&] { m.quantize(); });
      }
    }
  }
  return 0;
}
