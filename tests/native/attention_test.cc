// Attention and kv_append against a float64 softmax over plainly stored keys and values.
#include <algorithm>
#include <limits>
#include <memory>

#include "harness.h"

using nmtest::args;
using nmtest::Edge;
using nmtest::Guarded;
using nmtest::on_every_tier;
using nmtest::Random;
using nmtest::TestEngine;

namespace {

struct Case {
  int64_t D, H, KV, block_size, window;
  std::vector<int64_t> lengths;  // of the sequences
  Edge edge = Edge::kEnd;
};

struct Token {
  int64_t sequence, position;
};

const float kNaN = std::numeric_limits<float>::quiet_NaN();

/** Sequences with random queries, keys and values, stored plainly: [position, heads, D] each. */
struct World {
  Case c;
  int64_t stride_table, blocks;
  std::vector<std::vector<float>> q, k, v;
  std::vector<int32_t> table;

  explicit World(const Case& test_case, uint64_t seed = 7) : c(test_case) {
    Random random(seed);
    int64_t longest = 1;
    for (const int64_t n : c.lengths) longest = std::max(longest, n);
    stride_table = (longest + c.block_size - 1) / c.block_size;
    const int64_t S = static_cast<int64_t>(c.lengths.size());
    blocks = S * stride_table + 2;
    std::vector<int32_t> order(static_cast<size_t>(blocks));
    for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<int32_t>(i);
    for (size_t i = order.size() - 1; i > 0; i--)
      std::swap(order[i], order[static_cast<size_t>(random.below(static_cast<int64_t>(i) + 1))]);
    table.assign(order.begin(), order.begin() + S * stride_table);
    for (const int64_t n : c.lengths) {
      q.push_back(normals(random, n * c.H * c.D));
      k.push_back(normals(random, n * c.KV * c.D));
      v.push_back(normals(random, n * c.KV * c.D));
    }
  }

  static std::vector<float> normals(Random& random, int64_t n) {
    std::vector<float> x(static_cast<size_t>(n));
    for (float& one : x) one = random.normal();
    return x;
  }

  float scale() const { return static_cast<float>(1.3 / std::sqrt(static_cast<double>(c.D))); }

  std::vector<Token> tokens(int64_t sequence, int64_t begin, int64_t end) const {
    std::vector<Token> t;
    for (int64_t p = begin; p < end; p++) t.push_back({sequence, p});
    return t;
  }

  std::vector<Token> all_tokens() const {
    std::vector<Token> t;
    for (size_t s = 0; s < c.lengths.size(); s++) {
      const std::vector<Token> one = tokens(static_cast<int64_t>(s), 0, c.lengths[s]);
      t.insert(t.end(), one.begin(), one.end());
    }
    return t;
  }
};

/** The paged cache of a world, all NaN until it is written. */
struct Cache {
  const World& world;
  Guarded<float> keys, values;
  Guarded<int32_t> table;
  nm_kv_cache args_ = args<nm_kv_cache>();

  explicit Cache(const World& w)
      : world(w),
        keys(w.blocks * w.c.block_size * w.c.KV * w.c.D, w.c.edge),
        values(w.blocks * w.c.block_size * w.c.KV * w.c.D, w.c.edge),
        table(static_cast<int64_t>(w.table.size()), w.c.edge) {
    std::fill(keys.begin(), keys.end(), kNaN);
    std::fill(values.begin(), values.end(), kNaN);
    std::copy(w.table.begin(), w.table.end(), table.begin());
    args_.type = NM_F32;
    args_.blocks = w.blocks;
    args_.block_size = w.c.block_size;
    args_.kv_heads = w.c.KV;
    args_.head_dim = w.c.D;
    args_.keys = keys.data();
    args_.values = values.data();
  }
};

/** One step: appends the keys and values of the tokens, then attends where that is asked for. out: [T, H, D]. */
std::vector<float> step(const TestEngine& engine, Cache& cache, const std::vector<Token>& tokens, bool attend = true) {
  const World& w = cache.world;
  const Case& c = w.c;
  const int64_t T = static_cast<int64_t>(tokens.size()), wide = c.H * c.D + 3, narrow = c.KV * c.D + 5;
  Guarded<int32_t> positions(T, c.edge), sequence(T, c.edge);
  // The last row ends where the memory ends: its padding is not there.
  Guarded<float> q(T * wide - 3, c.edge), y(T * wide - 3, c.edge), k(T * narrow - 5, c.edge), v(T * narrow - 5, c.edge);
  for (int64_t t = 0; t < T; t++) {
    const size_t s = static_cast<size_t>(tokens[static_cast<size_t>(t)].sequence);
    const int64_t p = tokens[static_cast<size_t>(t)].position;
    positions[t] = static_cast<int32_t>(p);
    sequence[t] = static_cast<int32_t>(s);
    std::copy_n(w.q[s].begin() + p * c.H * c.D, c.H * c.D, q.begin() + t * wide);
    std::copy_n(w.k[s].begin() + p * c.KV * c.D, c.KV * c.D, k.begin() + t * narrow);
    std::copy_n(w.v[s].begin() + p * c.KV * c.D, c.KV * c.D, v.begin() + t * narrow);
  }
  nm_batch batch = args<nm_batch>();
  batch.tokens = T;
  batch.sequences = static_cast<int64_t>(c.lengths.size());
  batch.positions = positions.data();
  batch.sequence = sequence.data();
  batch.block_table = cache.table.data();
  batch.block_table_stride = w.stride_table;

  nm_kv_append_args append = args<nm_kv_append_args>();
  append.batch = &batch;
  append.cache = &cache.args_;
  append.key = k.data();
  append.value = v.data();
  append.key_stride = append.value_stride = narrow;
  NM_OK_CALL(nm_kv_append(engine, &append));
  if (!attend) return {};

  nm_attention_args a = args<nm_attention_args>();
  a.scale = w.scale();
  a.heads = c.H;
  a.window = c.window;
  a.batch = &batch;
  a.cache = &cache.args_;
  a.q = q.data();
  a.y = y.data();
  a.q_stride = a.y_stride = wide;
  NM_OK_CALL(nm_attention(engine, &a));

  std::vector<float> out(static_cast<size_t>(T * c.H * c.D));
  for (int64_t t = 0; t < T; t++) std::copy_n(y.begin() + t * wide, c.H * c.D, out.begin() + t * c.H * c.D);
  return out;
}

/**
 * The exact row and a bound on a float32 kernel's error. A score is a sum of D products, so it is off by at most
 * gamma(D + 3) scale sum |q k|, and s - max loses u |s - max| more; weights are exponentials of that (2 ulp), and the sums
 * over n keys, with one merge for each segment of 256, are off by gamma(n + 4 n / 256 + 12).
 */
void exact_row(const World& w, Token token, int64_t h, double* want, double* bound) {
  const Case& c = w.c;
  const size_t s = static_cast<size_t>(token.sequence);
  const int64_t p = token.position, first = c.window > 0 ? std::max<int64_t>(0, p - c.window + 1) : 0;
  const int64_t g = h / (c.H / c.KV), n = p + 1 - first;
  const float* q = w.q[s].data() + (p * c.H + h) * c.D;
  std::vector<double> score(static_cast<size_t>(n));
  double largest = -HUGE_VAL, smallest = HUGE_VAL, off = 0;
  for (int64_t j = 0; j < n; j++) {
    const float* k = w.k[s].data() + ((first + j) * c.KV + g) * c.D;
    double dot = 0, sizes = 0;
    for (int64_t d = 0; d < c.D; d++) {
      dot += static_cast<double>(q[d]) * k[d];
      sizes += std::fabs(static_cast<double>(q[d]) * k[d]);
    }
    score[static_cast<size_t>(j)] = dot * w.scale();
    largest = std::max(largest, dot * w.scale());
    smallest = std::min(smallest, dot * w.scale());
    off = std::max(off, nmtest::gamma(static_cast<double>(c.D) + 3) * sizes * w.scale());
  }
  off += nmtest::gamma(1) * (largest - smallest);
  const double relative = 2 * (std::exp(2 * off) - 1 + nmtest::gamma(4)) +
                          2 * nmtest::gamma(static_cast<double>(n) + 4 * std::ceil(static_cast<double>(n) / 256) + 12);
  double total = 0;
  for (double& one : score) total += one = std::exp(one - largest);
  for (int64_t d = 0; d < c.D; d++) {
    double sum = 0, sizes = 0;
    for (int64_t j = 0; j < n; j++) {
      const double value = w.v[s][static_cast<size_t>(((first + j) * c.KV + g) * c.D + d)];
      sum += score[static_cast<size_t>(j)] * value;
      sizes += score[static_cast<size_t>(j)] * std::fabs(value);
    }
    want[d] = sum / total;
    bound[d] = relative * sizes / total + 1e-45;
  }
}

/** Every `every`-th row that a step should give, worked out once for all engines. */
class Expected {
 public:
  Expected(const World& w, const std::vector<Token>& tokens, int64_t every) : D_(w.c.D), every_(every) {
    const int64_t rows = static_cast<int64_t>(tokens.size()) * w.c.H;
    want_.resize(static_cast<size_t>((rows + every - 1) / every * D_));
    bound_.resize(want_.size());
    for (int64_t row = 0, at = 0; row < rows; row += every, at += D_)
      exact_row(w, tokens[static_cast<size_t>(row / w.c.H)], row % w.c.H, want_.data() + at, bound_.data() + at);
  }

  void check(const char* what, const std::vector<float>& got) const {
    for (int64_t row = 0, at = 0; row * D_ < static_cast<int64_t>(got.size()); row += every_, at += D_)
      nmtest::check_close(what, got.data() + row * D_, want_.data() + at, D_,
                          [&](int64_t d) { return bound_[static_cast<size_t>(at + d)]; });
  }

 private:
  int64_t D_, every_;
  std::vector<double> want_, bound_;
};

std::string name_of(const TestEngine& engine, const Case& c) {
  return nmtest::text("%s D=%lld H=%lld KV=%lld block=%lld window=%lld", engine.tier_name(),
                      static_cast<long long>(c.D), static_cast<long long>(c.H), static_cast<long long>(c.KV),
                      static_cast<long long>(c.block_size), static_cast<long long>(c.window));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t D : {1, 7, 8, 16, 20, 33, 48, 64, 80, 96, 128, 256})
    all.push_back({D, 4, 2, 16, 0, {70, 3, 1}, D % 2 == 0 ? Edge::kEnd : Edge::kStart});
  for (const int64_t block : {1, 3, 17, 64, 100}) all.push_back({24, 3, 1, block, 0, {131, 64, 65}});
  for (const int64_t window : {1, 2, 5, 63, 64, 65, 100, 1000}) all.push_back({16, 2, 2, 8, window, {200, 17}});
  all.push_back({32, 9, 3, 16, 0, {130, 9}});
  all.push_back({8, 71, 1, 16, 0, {40, 3}});
  all.push_back({8, 5, 5, 16, 0, {66}});
  return all;
}

}  // namespace

NM_TEST(a_whole_prompt_equals_the_float64_softmax_for_all_shapes) {
  for (const Case& c : cases()) {
    const World w(c);
    const std::vector<Token> tokens = w.all_tokens();
    const Expected expected(w, tokens, 1);
    on_every_tier([&](const TestEngine& engine) {
      Cache cache(w);
      expected.check(name_of(engine, c).c_str(), step(engine, cache, tokens));
    });
  }
}

NM_TEST(contexts_of_several_segments_equal_the_float64_softmax) {
  for (const int64_t window : {0, 1500}) {
    const World w({16, 2, 1, 32, window, {2600}});
    struct Part {
      std::vector<Token> tokens;
      bool attend;
      Expected expected;
    };
    std::vector<Part> parts;  // the rows around the ends of segments, and the last: few rows, split by segments
    const int64_t ends[] = {0, 990, 1060, 2010, 2110, 2599, 2600};
    for (size_t i = 0; i + 1 < std::size(ends); i++) {
      const std::vector<Token> tokens = w.tokens(0, ends[i], ends[i + 1]);
      const bool attend = i % 2 == 1;
      parts.push_back({tokens, attend, Expected(w, attend ? tokens : std::vector<Token>(), i == 5 ? 1 : 7)});
    }
    on_every_tier([&](const TestEngine& engine) {
      Cache cache(w);
      for (const Part& part : parts)
        part.expected.check(name_of(engine, w.c).c_str(), step(engine, cache, part.tokens, part.attend));
    });
  }
}

NM_TEST(a_row_is_the_same_bit_for_bit_in_any_chunks_batch_and_number_of_threads) {
  struct Run {
    Case c;
    int64_t first;  // row to attend; those before are in the cache
  };
  for (const Run& run : {Run{{20, 6, 2, 16, 0, {300, 90, 41}}, 0}, Run{{64, 3, 1, 5, 70, {200, 130}}, 0},
                         Run{{16, 2, 1, 32, 0, {2200, 1100}}, 1900}, Run{{16, 2, 2, 32, 1300, {2200, 30}}, 1900}}) {
    const Case& c = run.c;
    const World w(c);
    const int64_t row = c.H * c.D, length = c.lengths[0];
    for (const int32_t tier : nmtest::tiers_but_of_linear()) {
      const TestEngine one(tier, 1), three(tier, 3);
      const std::vector<Token> before = w.tokens(0, 0, run.first), prompt = w.tokens(0, run.first, length);
      Cache whole(w);
      step(one, whole, before, false);
      const std::vector<float> want = step(one, whole, prompt);
      const auto same = [&](const char* what, const std::vector<Token>& tokens, const std::vector<float>& got) {
        for (size_t t = 0; t < tokens.size(); t++)
          if (tokens[t].sequence == 0)
            nmtest::check_same_bits(what, got.data() + static_cast<int64_t>(t) * row,
                                    want.data() + (tokens[t].position - run.first) * row, row);
      };
      {
        Cache cache(w);
        step(one, cache, before, false);
        same("three threads", prompt, step(three, cache, prompt));
      }
      {
        Cache cache(w);
        step(three, cache, before, false);
        std::vector<Token> tokens = prompt;
        for (size_t s = 1; s < c.lengths.size(); s++) {
          const std::vector<Token> other = w.tokens(static_cast<int64_t>(s), 0, c.lengths[s]);
          tokens.insert(tokens.end(), other.begin(), other.end());
        }
        same("other sequences behind", tokens, step(three, cache, tokens));
      }
      {  // chunks of random sizes, each beside a piece of another sequence, in turns
        Cache cache(w);
        step(one, cache, before, false);
        Random random(11);
        int64_t other = 0;
        for (int64_t begin = run.first, end; begin < length; begin = end) {
          end = std::min(length, begin + 1 + random.below(random.below(4) == 0 ? 200 : 7));
          std::vector<Token> tokens;
          for (int64_t p = begin; p < end; p++) {
            if (other < c.lengths[1] && random.below(3) == 0) tokens.push_back({1, other++});
            tokens.push_back({0, p});
          }
          same("chunks", tokens, step(begin % 2 == 0 ? one : three, cache, tokens));
        }
      }
      {  // one by one, as decoding does
        Cache cache(w);
        const int64_t begin = length - 30;
        step(one, cache, w.tokens(0, 0, begin), false);
        for (int64_t p = begin; p < length; p++) {
          const std::vector<Token> token = w.tokens(0, p, p + 1);
          same("decode", token, step(p % 2 == 0 ? one : three, cache, token));
        }
      }
    }
  }
}

NM_TEST(blocks_before_the_window_may_be_gone) {
  const World w({16, 2, 1, 8, 20, {100}});
  const std::vector<Token> last = w.tokens(0, 99, 100);
  const Expected expected(w, last, 1);
  on_every_tier([&](const TestEngine& engine) {
    Cache cache(w);
    step(engine, cache, w.tokens(0, 0, 99));
    const int64_t first = (99 - 20 + 1) / 8;  // the block in which the window of position 99 begins
    for (int64_t i = 0; i < first; i++) {
      for (int64_t j = 0; j < 8 * 16; j++) cache.keys[cache.table[i] * 8 * 16 + j] = kNaN;
      cache.table[i] = -1;
    }
    expected.check("window", step(engine, cache, last));
  });
}

NM_TEST(large_scores_do_not_overflow) {
  World w({8, 1, 1, 16, 0, {90}});
  for (float& x : w.q[0]) x *= 300;
  const std::vector<Token> tokens = w.all_tokens();
  const Expected expected(w, tokens, 1);
  on_every_tier([&](const TestEngine& engine) {
    Cache cache(w);
    const std::vector<float> got = step(engine, cache, tokens);
    for (const float y : got) NM_CHECK(std::isfinite(y));
    expected.check("large scores", got);
  });
}

NM_TEST(a_nan_reaches_only_the_tokens_that_see_it) {
  World w({8, 2, 1, 16, 0, {90}});
  w.v[0][50 * 8 + 3] = kNaN;
  on_every_tier([&](const TestEngine& engine) {
    Cache cache(w);
    const std::vector<float> got = step(engine, cache, w.all_tokens());
    for (int64_t t = 0; t < 90; t++)
      for (int64_t i = 0; i < 16; i++)
        NM_CHECK(std::isnan(got[static_cast<size_t>(t * 16 + i)]) == (t >= 50 && i % 8 == 3));
  });
}

NM_TEST(append_writes_its_own_rows_and_nothing_else) {
  const World w({5, 3, 3, 4, 0, {11, 6}});
  on_every_tier([&](const TestEngine& engine) {
    Cache cache(w);
    step(engine, cache, w.all_tokens());
    std::vector<bool> written(static_cast<size_t>(cache.keys.size())), value_written(written.size());
    for (const Token& t : w.all_tokens()) {
      const size_t s = static_cast<size_t>(t.sequence);
      for (int64_t h = 0; h < 3; h++)
        for (int64_t d = 0; d < 5; d++) {
          const int64_t block = w.table[s * static_cast<size_t>(w.stride_table) + static_cast<size_t>(t.position / 4)];
          const int64_t head = (block * 3 + h) * 4 * 5, p = t.position % 4;
          const size_t from = static_cast<size_t>((t.position * 3 + h) * 5 + d);
          NM_CHECK(cache.keys[head + d * 4 + p] == w.k[s][from] && cache.values[head + p * 5 + d] == w.v[s][from]);
          written[static_cast<size_t>(head + d * 4 + p)] = true;
          value_written[static_cast<size_t>(head + p * 5 + d)] = true;
        }
    }
    for (int64_t i = 0; i < cache.keys.size(); i++) {
      NM_CHECK(written[static_cast<size_t>(i)] || std::isnan(cache.keys[i]));
      NM_CHECK(value_written[static_cast<size_t>(i)] || std::isnan(cache.values[i]));
    }
  });
}

NM_TEST(wrong_arguments_are_named) {
  int32_t positions[2] = {0, 1}, sequence[2] = {0, 0}, table[2] = {0, 1};
  float keys[64], values[64], q[32] = {}, y[32];
  nm_batch batch = args<nm_batch>();
  batch.tokens = 2;
  batch.sequences = 1;
  batch.positions = positions;
  batch.sequence = sequence;
  batch.block_table = table;
  batch.block_table_stride = 2;
  nm_kv_cache cache = args<nm_kv_cache>();
  cache.blocks = 2;
  cache.block_size = 4;
  cache.kv_heads = 2;
  cache.head_dim = 4;
  cache.keys = keys;
  cache.values = values;
  nm_attention_args good = args<nm_attention_args>();
  good.scale = 0.5f;
  good.heads = 4;
  good.batch = &batch;
  good.cache = &cache;
  good.q = q;
  good.y = y;
  good.q_stride = good.y_stride = 16;
  nm_kv_append_args append = args<nm_kv_append_args>();
  append.batch = &batch;
  append.cache = &cache;
  append.key = append.value = q;
  append.key_stride = append.value_stride = 8;
  const TestEngine engine(NM_TIER_REFERENCE, 1);
  NM_OK_CALL(nm_kv_append(engine, &append));
  NM_OK_CALL(nm_attention(engine, &good));

  struct Row {
    const char* fragment;
    std::function<void(nm_attention_args&, nm_batch&, nm_kv_cache&)> spoil;
    int32_t status = NM_ERR_ARGUMENT;
  };
  using A = nm_attention_args;
  using B = nm_batch;
  using C = nm_kv_cache;
  const std::vector<Row> rows = {
      {"args.struct_size", [](A& a, B&, C&) { a.struct_size = 8; }, NM_ERR_STRUCT_SIZE},
      {"batch: got NULL", [](A& a, B&, C&) { a.batch = nullptr; }},
      {"batch.struct_size", [](A&, B& b, C&) { b.struct_size++; }, NM_ERR_STRUCT_SIZE},
      {"cache: got NULL", [](A& a, B&, C&) { a.cache = nullptr; }},
      {"cache.struct_size", [](A&, B&, C& c) { c.struct_size = 0; }, NM_ERR_STRUCT_SIZE},
      {"batch.tokens: got -1", [](A&, B& b, C&) { b.tokens = -1; }},
      {"batch.positions: got NULL", [](A&, B& b, C&) { b.positions = nullptr; }},
      {"batch.positions: misaligned",
       [](A&, B& b, C&) {
         b.positions = reinterpret_cast<const int32_t*>(reinterpret_cast<uintptr_t>(b.positions) + 2);
       }},
      {"batch.positions[1]: got -3", [&](A&, B&, C&) { positions[1] = -3; }},
      {"block_table_stride is 2", [&](A&, B&, C&) { positions[1] = 8; }},
      {"batch.sequences: got 0", [](A&, B& b, C&) { b.sequences = 0; }},
      {"batch.sequence: got NULL", [](A&, B& b, C&) { b.sequence = nullptr; }},
      {"batch.sequence[1]: got 1, expected 0..0", [&](A&, B&, C&) { sequence[1] = 1; }},
      {"batch.sequence[0]: got -1", [&](A&, B&, C&) { sequence[0] = -1; }},
      {"batch.block_table: got NULL", [](A&, B& b, C&) { b.block_table = nullptr; }},
      {"batch.block_table_stride: got 0", [](A&, B& b, C&) { b.block_table_stride = 0; }},
      {"batch.block_table[0,0]: got 2, expected 0..1", [&](A&, B&, C&) { table[0] = 2; }},
      {"batch.block_table[0,0]: got -1", [&](A&, B&, C&) { table[0] = -1; }},
      {"cache.type: got 1", [](A&, B&, C& c) { c.type = NM_F16; }, NM_ERR_UNSUPPORTED},
      {"cache.type: got 9", [](A&, B&, C& c) { c.type = 9; }},
      {"cache.blocks: got 0", [](A&, B&, C& c) { c.blocks = 0; }},
      {"cache.block_size: got 0", [](A&, B&, C& c) { c.block_size = 0; }},
      {"cache.kv_heads: got -2", [](A&, B&, C& c) { c.kv_heads = -2; }},
      {"cache.head_dim: got 0", [](A&, B&, C& c) { c.head_dim = 0; }},
      {"overflow", [](A&, B&, C& c) { c.blocks = c.block_size = c.head_dim = INT32_MAX; }},
      {"cache.keys: got NULL", [](A&, B&, C& c) { c.keys = nullptr; }},
      {"cache.values: got NULL", [](A&, B&, C& c) { c.values = nullptr; }},
      {"heads: got 3, expected a multiple", [](A& a, B&, C&) { a.heads = 3; }},
      {"heads: got 0", [](A& a, B&, C&) { a.heads = 0; }},
      {"window: got -1", [](A& a, B&, C&) { a.window = -1; }},
      {"scale: got nan", [](A& a, B&, C&) { a.scale = kNaN; }},
      {"q: got NULL", [](A& a, B&, C&) { a.q = nullptr; }},
      {"y: got NULL", [](A& a, B&, C&) { a.y = nullptr; }},
      {"q_stride: got 15", [](A& a, B&, C&) { a.q_stride = 15; }},
      {"y_stride: got -16", [](A& a, B&, C&) { a.y_stride = -16; }},
      {"overflow", [](A& a, B&, C&) { a.q_stride = INT64_MAX; }},
      {"cancel: misaligned", [](A& a, B&, C&) { a.cancel = reinterpret_cast<const int32_t*>(a.scale > 0 ? 3 : 1); }},
  };
  for (const Row& row : rows) {
    nm_attention_args a = good;
    nm_batch b = batch;
    nm_kv_cache c = cache;
    a.batch = &b;
    a.cache = &c;
    row.spoil(a, b, c);
    NM_REFUSED(nm_attention(engine, &a), row.status, row.fragment);
    positions[0] = 0, positions[1] = 1, sequence[0] = sequence[1] = 0, table[0] = 0, table[1] = 1;
  }
  nm_kv_append_args bad = append;
  bad.key = nullptr;
  NM_REFUSED(nm_kv_append(engine, &bad), NM_ERR_ARGUMENT, "key: got NULL");
  bad = append;
  bad.value_stride = 7;
  NM_REFUSED(nm_kv_append(engine, &bad), NM_ERR_ARGUMENT, "value_stride: got 7");
  table[0] = 2;
  NM_REFUSED(nm_kv_append(engine, &append), NM_ERR_ARGUMENT, "batch.block_table[0,0]: got 2");
  table[0] = 0;
  NM_REFUSED(nm_attention(nullptr, &good), NM_ERR_HANDLE, "engine");
  NM_REFUSED(nm_attention(engine, nullptr), NM_ERR_ARGUMENT, "args: got NULL");
}

NM_TEST(cancel_is_heard_and_an_empty_step_is_fine) {
  const World w({8, 1, 1, 16, 0, {3}});
  on_every_tier([&](const TestEngine& engine) {
    Cache cache(w);
    nm_batch batch = args<nm_batch>();
    nm_attention_args a = args<nm_attention_args>();
    a.scale = 1;
    a.heads = 1;
    a.batch = &batch;
    a.cache = &cache.args_;
    NM_OK_CALL(nm_attention(engine, &a));
    const int32_t position = 0, sequence = 0, cancel = 1;
    float q[8] = {}, y[8];
    batch.tokens = batch.sequences = 1;
    batch.positions = &position;
    batch.sequence = &sequence;
    batch.block_table = cache.table.data();
    batch.block_table_stride = w.stride_table;
    a.q = q;
    a.y = y;
    a.q_stride = a.y_stride = 8;
    a.cancel = &cancel;
    NM_REFUSED(nm_attention(engine, &a), NM_ERR_CANCELLED, "cancelled");
  });
}
