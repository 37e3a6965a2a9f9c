// The small ops of a step, per tier: median time, rate, and share of a roof measured in the same process: a read of as
// many bytes for what streams, fused multiply-adds from registers for attention over a prompt.
//
//   ops_bench [threads [part of a name [FILE for rows]]]
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <vector>

#include "bench_rows.h"
#include "harness.h"

using nmtest::args;
using nmtest::TestEngine;

namespace {

/** Memory as the engine's callers have it: at the beginning of a cache line. */
template <class T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const LineAllocator&) const { return true; }
};

using Floats = std::vector<float, LineAllocator<float>>;

Floats normals(int64_t n, uint64_t seed = 3) {
  nmtest::Random random(seed);
  Floats x(static_cast<size_t>(n));
  for (float& one : x) one = random.normal();
  return x;
}

/** Samples of 200 us at least, for 0.2 s. */
bench::Spread seconds_of(int32_t threads, const std::function<void()>& call) {
  double start = bench::now(threads);
  call();
  const int64_t inner = std::max<int64_t>(1, static_cast<int64_t>(2e-4 / std::max(bench::now(threads) - start, 1e-9)));
  std::vector<double> samples;
  for (double total = 0; samples.size() < 5 || total < 0.2;) {
    start = bench::now(threads);
    for (int64_t i = 0; i < inner; i++) call();
    const double one = bench::now(threads) - start;
    total += one;
    samples.push_back(one / static_cast<double>(inner));
  }
  return bench::spread_of(samples);
}

void require(int32_t status) {
  if (status == NM_OK) return;
  std::fprintf(stderr, "%s\n", nmtest::message().c_str());
  std::exit(1);
}

const char* filter = nullptr;  // NULL = all
bench::Rows* rows = nullptr;

bool wanted(const char* what) { return filter == nullptr || std::strstr(what, filter) != nullptr; }

/** A call reads and writes arrays of this traffic, `array` bytes each: the limit is a plain loop that does the same. */
void streamed(const TestEngine& engine, int32_t threads, const char* what, bench::Traffic traffic, double array,
              const std::function<void()>& call) {
  if (!wanted(what)) return;
  const bench::Spread seconds = seconds_of(threads, call);
  const int64_t memory = static_cast<int64_t>(array) * bench::arrays_of(traffic);
  const bench::Aligned from(memory);
  bench::Roofs roofs(threads, engine.tier());
  const double rate = bench::Roofs::median(0.1, [&] { return roofs.rate(traffic, from.data(), memory); });
  const double bytes = array * static_cast<double>(bench::moves_of(traffic));
  rows->add({what, engine.tier_name(), threads, seconds, bytes, bytes / rate, bench::traffic_name(traffic)});
}

void computed(const TestEngine& engine, int32_t threads, const char* what, double flops,
              const std::function<void()>& call) {
  if (!wanted(what)) return;
  const bench::Spread seconds = seconds_of(threads, call);
  bench::Roofs roofs(threads, engine.tier());
  const double rate = bench::Roofs::median(0.1, [&] { return roofs.rate(bench::kFma); });
  rows->add({what, engine.tier_name(), threads, seconds, flops, flops / rate, "FMA"});
}

void norms(const TestEngine& engine, int32_t threads) {
  for (const int64_t count : {1, 512}) {
    const int64_t cols = 2048;
    Floats x = normals(count * cols), y(x.size()), w = normals(cols);
    nm_norm_args a = args<nm_norm_args>();
    a.eps = 1e-5f;
    a.rows = count;
    a.groups = 1;
    a.cols = a.x_stride = a.y_stride = cols;
    a.x = x.data();
    a.y = y.data();
    a.weight = w.data();
    const double array = 4.0 * static_cast<double>(count * cols);
    const std::string name = nmtest::text("rms_norm %lld x 2048", static_cast<long long>(count));
    streamed(engine, threads, name.c_str(), bench::kCopy, array, [&] { require(nm_rms_norm(engine, &a)); });
    const std::string layer = nmtest::text("layer_norm %lld x 2048", static_cast<long long>(count));
    streamed(engine, threads, layer.c_str(), bench::kCopy, array, [&] { require(nm_layer_norm(engine, &a)); });
  }
}

void ropes(const TestEngine& engine, int32_t threads) {
  const int64_t T = 512, H = 32, D = 64;
  Floats x = normals(T * H * D), cos(static_cast<size_t>(T * D / 2), 0.6f), sin(cos.size(), 0.8f);
  nm_rope_args a = args<nm_rope_args>();
  a.t = T;
  a.heads = H;
  a.head_dim = D;
  a.half = D / 2;
  a.x = x.data();
  a.x_stride = H * D;
  a.cos = cos.data();
  a.sin = sin.data();
  for (a.interleaved = 0; a.interleaved < 2; a.interleaved++)
    streamed(engine, threads, a.interleaved != 0 ? "rope interleaved 512 x 32 x 64" : "rope halves 512 x 32 x 64",
             bench::kUpdate, 4.0 * static_cast<double>(T * H * D), [&] { require(nm_rope(engine, &a)); });
}

void activations(const TestEngine& engine, int32_t threads) {
  const int64_t count = 256, cols = 2048;
  Floats x = normals(count * cols), up = normals(count * cols), y(x.size());
  const char* names[] = {"silu * up 256 x 2048", "gelu * up 256 x 2048", "gelu_tanh * up 256 x 2048",
                         "relu * up 256 x 2048"};
  for (int32_t kind = 0; kind < 4; kind++) {
    nm_activation_args a = args<nm_activation_args>();
    a.kind = kind;
    a.rows = count;
    a.cols = a.x_stride = a.up_stride = a.y_stride = cols;
    a.x = x.data();
    a.up = up.data();
    a.y = y.data();
    streamed(engine, threads, names[kind], bench::kCombine, 4.0 * static_cast<double>(count * cols),
             [&] { require(nm_activate(engine, &a)); });
  }
}

void sampling(const TestEngine& engine, int32_t threads) {
  const int64_t vocab = 262144;
  Floats x = normals(vocab), y(x.size());
  for (float& one : x) one *= 4;
  const double bytes = 4.0 * static_cast<double>(vocab);
  nm_softmax_args s = args<nm_softmax_args>();
  s.temperature = 1;
  s.rows = 1;
  s.cols = s.x_stride = s.y_stride = vocab;
  s.x = x.data();
  s.y = y.data();
  streamed(engine, threads, "softmax 1 x 262144", bench::kCopy, bytes, [&] { require(nm_softmax(engine, &s)); });

  const float uniform = 0.7f;
  float logprob;
  int32_t id;
  nm_sample_args a = args<nm_sample_args>();
  a.top_p = 1;
  a.rows = 1;
  a.vocab = a.logits_stride = vocab;
  a.logits = x.data();
  a.uniform = &uniform;
  a.ids = &id;
  const auto call = [&] { require(nm_sample(engine, &a)); };
  streamed(engine, threads, "sample greedy 262144", bench::kRead, bytes, call);
  a.temperature = 1;
  a.top_k = 40;
  streamed(engine, threads, "sample top_k 40 262144", bench::kRead, bytes, call);
  a.logprobs = &logprob;
  a.top_p = 0.9f;
  streamed(engine, threads, "sample top_k 40 top_p 0.9 logprob 262144", bench::kRead, bytes, call);
  a.top_k = 0;
  streamed(engine, threads, "sample top_p 0.9 logprob 262144", bench::kRead, bytes, call);

  const int32_t target = 77;
  double nll;
  nm_nll_args n = args<nm_nll_args>();
  n.rows = 1;
  n.vocab = n.logits_stride = vocab;
  n.logits = x.data();
  n.targets = &target;
  n.nll = &nll;
  streamed(engine, threads, "nll 262144", bench::kRead, bytes, [&] { require(nm_nll(engine, &n)); });
}

void conversions(const TestEngine& engine, int32_t threads) {
  const int64_t n = 1 << 20;
  std::vector<uint16_t> half(static_cast<size_t>(n), 0x3c12);
  Floats x = normals(n);
  const auto one = [&](const char* what, int32_t from, int32_t to, const void* in, void* out, double size) {
    nm_convert_args a = args<nm_convert_args>();
    a.from = from;
    a.to = to;
    a.count = n;
    a.x = in;
    a.y = out;
    streamed(engine, threads, what, bench::kCopy, size / 2 * static_cast<double>(n),
             [&] { require(nm_convert(engine, &a)); });
  };
  one("bf16 to f32, 1 M", NM_BF16, NM_F32, half.data(), x.data(), 6);
  one("f16 to f32, 1 M", NM_F16, NM_F32, half.data(), x.data(), 6);
  one("e4m3 to f32, 1 M", NM_F8_E4M3, NM_F32, half.data(), x.data(), 5);
  one("f32 to bf16, 1 M", NM_F32, NM_BF16, x.data(), half.data(), 6);
  one("f32 to f16, 1 M", NM_F32, NM_F16, x.data(), half.data(), 6);
}

/** Tokens [begin, end) of each of S sequences that begin at position 0. */
void attention(const TestEngine& engine, int32_t threads, int64_t H, int64_t KV, int64_t D, int64_t begin, int64_t end,
               int64_t S) {
  const int64_t block = 16, per_sequence = (end + block - 1) / block, T = S * (end - begin);
  Floats keys = normals(S * per_sequence * block * KV * D), values = normals(S * per_sequence * block * KV * D, 5);
  Floats q = normals(T * H * D, 9), y(q.size());
  std::vector<int32_t> positions, sequence, table;
  for (int64_t s = 0; s < S; s++)
    for (int64_t p = begin; p < end; p++) {
      positions.push_back(static_cast<int32_t>(p));
      sequence.push_back(static_cast<int32_t>(s));
    }
  for (int64_t i = 0; i < S * per_sequence; i++) table.push_back(static_cast<int32_t>((i * 7919) % (S * per_sequence)));
  nm_batch batch = args<nm_batch>();
  batch.tokens = T;
  batch.sequences = S;
  batch.positions = positions.data();
  batch.sequence = sequence.data();
  batch.block_table = table.data();
  batch.block_table_stride = per_sequence;
  nm_kv_cache cache = args<nm_kv_cache>();
  cache.blocks = S * per_sequence;
  cache.block_size = block;
  cache.kv_heads = KV;
  cache.head_dim = D;
  cache.keys = keys.data();
  cache.values = values.data();
  nm_attention_args a = args<nm_attention_args>();
  a.scale = 0.125f;
  a.heads = H;
  a.batch = &batch;
  a.cache = &cache;
  a.q = q.data();
  a.y = y.data();
  a.q_stride = a.y_stride = H * D;
  const auto call = [&] { require(nm_attention(engine, &a)); };
  const std::string name = nmtest::text(
      "attention H=%lld/%lld D=%lld S=%lld, %lld..%lld", static_cast<long long>(H), static_cast<long long>(KV),
      static_cast<long long>(D), static_cast<long long>(S), static_cast<long long>(begin), static_cast<long long>(end));
  if (end - begin == 1) {
    const double bytes = 8.0 * static_cast<double>(S * end * KV * D);
    streamed(engine, threads, name.c_str(), bench::kRead, bytes, call);
  } else {
    const double seen = static_cast<double>((begin + end + 1) * (end - begin)) / 2;
    computed(engine, threads, name.c_str(), 4 * seen * static_cast<double>(S * H * D), call);
  }
}

void attentions(const TestEngine& engine, int32_t threads) {
  attention(engine, threads, 9, 3, 64, 0, 512, 1);
  attention(engine, threads, 9, 3, 64, 0, 2048, 1);
  attention(engine, threads, 32, 8, 128, 0, 1024, 1);
  attention(engine, threads, 9, 3, 64, 511, 512, 1);
  attention(engine, threads, 9, 3, 64, 4095, 4096, 1);
  attention(engine, threads, 32, 8, 128, 4095, 4096, 1);
  attention(engine, threads, 12, 12, 64, 1023, 1024, 1);
  attention(engine, threads, 9, 3, 64, 1023, 1024, 8);
}

}  // namespace

int main(int count, char** words) {
  const int32_t threads = count > 1 ? std::atoi(words[1]) : 1;
  if (count > 2) filter = words[2];
  bench::Rows all(count > 3 ? words[3] : nullptr);
  rows = &all;
  nm_cpu_info cpu = args<nm_cpu_info>();
  require(nm_cpu_query(&cpu));
  std::printf("%s, %d thread(s); medians of %s\n", cpu.brand, threads,
              threads == 1 ? "the thread's clock" : "the wall clock");
  for (const int32_t tier : nmtest::tiers()) {
    if (tier == NM_TIER_REFERENCE) continue;
    const TestEngine engine(tier, threads);
    norms(engine, threads);
    ropes(engine, threads);
    activations(engine, threads);
    sampling(engine, threads);
    conversions(engine, threads);
    attentions(engine, threads);
  }
}
