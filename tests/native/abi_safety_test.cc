// Every entry point of the C boundary, spoilt one thing at a time: NULL, misaligned, wrong struct_size, negative, zero,
// overflowing, dead handles. Each must give a status and a message with the function's name, and leave the engine usable.
#include "abi_safety.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <set>
#include <sstream>

#include "harness.h"

using nmtest::args;
using nmtest::Entry;
using nmtest::Field;
using nmtest::field;
using nmtest::Guarded;
using nmtest::Kind;
using nmtest::structure;

namespace {

constexpr int64_t kRows = 3, kCols = 32, kHeads = 4, kDim = 8, kGroup = 16, kVocab = 32;

/** A call of every op that works, over memory between unmapped pages. */
class Calls {
 public:
  explicit Calls(nm_engine* engine) {
    fill_batch();
    fill_weight(engine);
    fill_ops();
  }
  std::vector<Entry> entries();

 private:
  template <class T>
  T* memory(int64_t count) {
    auto bytes = std::make_shared<Guarded<T>>(count);
    keep_.push_back(bytes);
    return bytes->data();
  }
  float* matrix() { return memory<float>(kRows * kCols); }
  void fill_batch();
  void fill_weight(nm_engine* engine);
  void fill_ops();
  void fill_codes();
  void fill_gptq();
  std::vector<Entry> weights();
  std::vector<Entry> rows();
  std::vector<Entry> attention();
  std::vector<Entry> logits();
  std::vector<Entry> codes();
  std::vector<Entry> gptq();

  std::vector<std::shared_ptr<void>> keep_;
  nm_batch batch_ = args<nm_batch>();
  nm_kv_cache cache_ = args<nm_kv_cache>();
  nm_weight floats_ = args<nm_weight>(), integers_ = args<nm_weight>();
  nm_codes codes_ = args<nm_codes>();
  nm_convert_args convert_ = args<nm_convert_args>();
  nm_linear_args linear_ = args<nm_linear_args>();
  nm_embedding_args embedding_ = args<nm_embedding_args>();
  nm_norm_args rms_ = args<nm_norm_args>(), layer_ = args<nm_norm_args>();
  nm_rope_table_args table_ = args<nm_rope_table_args>();
  nm_rope_args rope_ = args<nm_rope_args>();
  nm_kv_append_args append_ = args<nm_kv_append_args>();
  nm_attention_args attention_ = args<nm_attention_args>();
  nm_activation_args activation_ = args<nm_activation_args>();
  nm_softmax_args softmax_ = args<nm_softmax_args>();
  nm_sample_args sample_ = args<nm_sample_args>();
  nm_nll_args nll_ = args<nm_nll_args>();
  nm_kl_args kl_ = args<nm_kl_args>();
  nm_rtn_args rtn_ = args<nm_rtn_args>();
  nm_dequantize_args dequantize_ = args<nm_dequantize_args>();
  nm_gptq_args gptq_ = args<nm_gptq_args>();
  nm_awq_args awq_ = args<nm_awq_args>();
  nm_words_args words_ = args<nm_words_args>();
  nm_gram_args gram_ = args<nm_gram_args>();
  nm_gptq_factor_args factor_ = args<nm_gptq_factor_args>();
  nm_gptq_quantize_args quantize_ = args<nm_gptq_quantize_args>();
  nm_awq_round_args round_ = args<nm_awq_round_args>();
  nm_awq_clip_args clip_ = args<nm_awq_clip_args>();
  nm_eora_args eora_ = args<nm_eora_args>();
};

void Calls::fill_batch() {
  batch_.tokens = kRows;
  batch_.sequences = 1;
  int32_t* positions = memory<int32_t>(kRows);
  for (int i = 0; i < kRows; i++) positions[i] = i;
  batch_.positions = positions;
  batch_.sequence = memory<int32_t>(kRows);
  batch_.block_table = memory<int32_t>(1);
  batch_.block_table_stride = 1;
  cache_.type = NM_F32;
  cache_.blocks = 1;
  cache_.block_size = 4;
  cache_.kv_heads = kHeads;
  cache_.head_dim = kDim;
  cache_.keys = memory<float>(4 * kHeads * kDim);
  cache_.values = memory<float>(4 * kHeads * kDim);
}

void Calls::fill_weight(nm_engine* engine) {
  floats_.n = integers_.n = floats_.k = integers_.k = kCols;
  floats_.type = NM_F32;
  floats_.data = memory<float>(kCols * kCols);
  integers_.bits = 4;
  integers_.group_size = kGroup;
  integers_.codes = memory<uint8_t>(kCols * kCols);
  integers_.scales = memory<float>(kCols / kGroup * kCols);
  integers_.zeros = memory<uint8_t>(kCols / kGroup * kCols);
  int32_t* order = memory<int32_t>(kCols);
  for (int i = 0; i < kCols; i++) order[i] = i / static_cast<int32_t>(kGroup);
  integers_.g_idx = order;
  int64_t size = 0;
  NM_OK_CALL(nm_linear_pack_size(engine, &integers_, &size));
  void* image = memory<uint64_t>(size / 8);
  NM_OK_CALL(nm_linear_pack(engine, &integers_, image, size));
  linear_.m = kRows;
  linear_.image = image;
  nm_linear_info packed = args<nm_linear_info>();  // less than it was given: these scales fit float16
  NM_OK_CALL(nm_linear_query(engine, image, size, &packed));
  linear_.image_bytes = packed.bytes;
  linear_.x = matrix();
  linear_.y = matrix();
  linear_.bias = memory<float>(kCols);
  linear_.residual = matrix();
  linear_.x_stride = linear_.y_stride = linear_.residual_stride = kCols;
}

void Calls::fill_ops() {
  convert_.count = kCols;
  convert_.to = NM_F16;
  convert_.x = memory<float>(kCols);
  convert_.y = memory<uint16_t>(kCols);
  embedding_.t = kRows;
  embedding_.rows = embedding_.cols = kCols;
  embedding_.table = memory<float>(kCols * kCols);
  embedding_.ids = memory<int32_t>(kRows);
  embedding_.y = matrix();
  embedding_.residual = matrix();
  embedding_.table_stride = embedding_.y_stride = embedding_.residual_stride = kCols;
  for (nm_norm_args* norm : {&rms_, &layer_}) {
    norm->eps = 1e-6f;
    norm->rows = kRows;
    norm->groups = 1;
    norm->cols = kCols;
    norm->x = matrix();
    norm->y = matrix();
    norm->x_stride = norm->y_stride = kCols;
    norm->weight = memory<float>(kCols);
  }
  layer_.bias = memory<float>(kCols);
  table_.scale = 1;
  table_.half = rope_.half = kDim / 2;
  table_.batch = append_.batch = attention_.batch = &batch_;
  append_.cache = attention_.cache = &cache_;
  table_.inv_freq = memory<float>(kDim / 2);
  table_.cos = memory<float>(kRows * kDim / 2);
  table_.sin = memory<float>(kRows * kDim / 2);
  rope_.t = kRows;
  rope_.heads = attention_.heads = kHeads;
  rope_.head_dim = kDim;
  rope_.x = matrix();
  rope_.cos = table_.cos;
  rope_.sin = table_.sin;
  append_.key = matrix();
  append_.value = matrix();
  attention_.q = matrix();
  attention_.y = matrix();
  rope_.x_stride = append_.key_stride = append_.value_stride = attention_.q_stride = attention_.y_stride = kCols;
  attention_.scale = 1;
  activation_.rows = softmax_.rows = sample_.rows = nll_.rows = kl_.rows = kRows;
  activation_.cols = softmax_.cols = sample_.vocab = nll_.vocab = kl_.vocab = kVocab;
  activation_.x = matrix();
  activation_.up = matrix();
  activation_.y = matrix();
  softmax_.temperature = sample_.temperature = sample_.top_p = 1;
  softmax_.x = matrix();
  softmax_.y = matrix();
  sample_.logits = nll_.logits = kl_.logits = matrix();
  kl_.reference = matrix();
  activation_.x_stride = activation_.up_stride = activation_.y_stride = kVocab;
  softmax_.x_stride = softmax_.y_stride = sample_.logits_stride = nll_.logits_stride = kVocab;
  kl_.logits_stride = kl_.reference_stride = kVocab;
  sample_.uniform = memory<float>(kRows);
  sample_.ids = memory<int32_t>(kRows);
  sample_.logprobs = memory<float>(kRows);
  nll_.targets = memory<int32_t>(kRows);
  nll_.nll = memory<double>(kRows);
  kl_.kl = memory<double>(kRows);
  kl_.top_reference = memory<int32_t>(kRows);
  kl_.top = memory<int32_t>(kRows);
  fill_codes();
}

void Calls::fill_codes() {
  codes_.bits = 4;
  codes_.n = codes_.k = kCols;
  codes_.group_size = kGroup;
  codes_.codes = memory<uint8_t>(kCols * kCols);
  codes_.scales = memory<float>(kCols / kGroup * kCols);
  codes_.zeros = memory<uint8_t>(kCols / kGroup * kCols);
  rtn_.out = dequantize_.in = gptq_.codes = awq_.codes = &codes_;
  rtn_.w = memory<float>(kCols * kCols);
  dequantize_.w = memory<float>(kCols * kCols);
  rtn_.w_stride = dequantize_.w_stride = kCols;
  gptq_.qweight = memory<uint32_t>(kCols * 4 / 32 * kCols);
  gptq_.qzeros = memory<uint32_t>(kCols / kGroup * kCols * 4 / 32);
  gptq_.word_bits = 32;
  awq_.qweight = memory<uint32_t>(kCols * 4 / 32 * kCols);
  awq_.qzeros = memory<uint32_t>(kCols / kGroup * kCols * 4 / 32);
  words_.layout = NM_WORDS_ROWS;
  words_.bits = 4;
  words_.n = words_.k = kCols;
  words_.codes = memory<uint8_t>(kCols * kCols);
  words_.words = memory<uint32_t>(kCols * 4 / 32 * kCols);
  fill_gptq();
}

void Calls::fill_gptq() {
  constexpr int64_t kTriangle = 48 * 48, kSquare = 48 * 48;  // one strip
  gram_.t = kRows;
  gram_.k = factor_.k = kCols;
  gram_.x = matrix();
  gram_.exact = matrix();
  gram_.x_stride = gram_.exact_stride = kCols;
  gram_.gram = memory<double>(kTriangle);
  gram_.cross = memory<double>(kSquare);
  factor_.rows = kRows;
  factor_.group_size = kGroup;
  factor_.gram = gram_.gram;
  factor_.cross = gram_.cross;
  factor_.damp = 0.05;
  factor_.factor = memory<float>(kTriangle);
  factor_.cross_factor = memory<float>(kTriangle);
  factor_.pivots = memory<float>(kCols);
  factor_.perm = memory<int32_t>(kCols);
  factor_.used = memory<double>(2);
  int32_t* perm = memory<int32_t>(kCols);
  for (int i = 0; i < kCols; i++) perm[i] = i;
  quantize_.w = memory<float>(kCols * kCols);
  quantize_.w_stride = kCols;
  quantize_.factor = memory<float>(kTriangle);
  quantize_.cross_factor = memory<float>(kTriangle);
  quantize_.pivots = memory<float>(kCols);
  quantize_.perm = perm;
  quantize_.out = &codes_;
  quantize_.loss = memory<double>(1);
  float* scale = memory<float>(kCols);
  for (int i = 0; i < kCols; i++) scale[i] = 1;
  round_.bits = clip_.bits = 4;
  round_.n = round_.k = clip_.n = clip_.k = kCols;
  round_.group_size = clip_.group_size = kGroup;
  round_.w = memory<float>(kCols * kCols);
  round_.y = memory<float>(kCols * kCols);
  clip_.w = memory<float>(kCols * kCols);
  round_.w_stride = round_.y_stride = clip_.w_stride = kCols;
  round_.scale = clip_.scale = scale;
  clip_.gram = gram_.gram;
  eora_.n = eora_.k = eora_.d_stride = kCols;
  eora_.rank = 4;
  eora_.d = memory<float>(kCols * kCols);
  eora_.gram = gram_.gram;
  eora_.a = memory<float>(4 * kCols);
  eora_.b = memory<float>(4 * kCols);
  eora_.taken = memory<double>(1);
}

#define POINTER(s, f) field(#f, Kind::kPointer, (s).f)
#define OPTIONAL(s, f) field(#f, Kind::kOptional, (s).f)
#define STRUCT(s, f) field(#f, Kind::kStruct, (s).f)
#define COUNT(s, f) field(#f, Kind::kCount, (s).f)
#define FREE(s, f) field(#f, Kind::kFree, (s).f)
#define AT_LEAST(s, f) field(#f, Kind::kAtLeast, (s).f)
#define ENUM(s, f) field(#f, Kind::kEnum, (s).f)
#define CANCEL(s) OPTIONAL(s, cancel)

/** An op of an engine and one struct. */
template <class Args>
Entry op(const char* name, int32_t (*function)(nm_engine*, const Args*), Args& value, std::vector<Field> fields) {
  const auto call = [function](nm_engine* engine, const void* given) {
    return function(engine, static_cast<const Args*>(given));
  };
  return {name, call, {structure("args", value, std::move(fields))}};
}
#define OP(name, value, ...) op(#name, name, value, __VA_ARGS__)

std::vector<Entry> Calls::weights() {
  nm_weight &f = floats_, &w = integers_;
  nm_linear_args& l = linear_;
  const auto fields = [](nm_weight& v) {
    return std::vector<Field>{COUNT(v, n),       COUNT(v, k),        COUNT(v, group_size), ENUM(v, bits),
                              POINTER(v, codes), POINTER(v, scales), OPTIONAL(v, zeros),   OPTIONAL(v, g_idx)};
  };
  std::vector<Field> sizes = {COUNT(w, n), COUNT(w, k), COUNT(w, group_size), ENUM(w, bits), OPTIONAL(w, g_idx)};
  auto room = std::make_shared<Guarded<uint64_t>>(1 << 12);
  const auto pack = [room](nm_engine* e, const void* a) {
    const auto* weight = static_cast<const nm_weight*>(a);
    int64_t bytes = 0;
    nm_linear_pack_size(e, weight, &bytes);
    NM_CHECK(bytes <= room->size() * 8);
    return nm_linear_pack(e, weight, room->data(), bytes);
  };
  const auto size = [](nm_engine* e, const void* a) {
    int64_t n = 0;
    return nm_linear_pack_size(e, static_cast<const nm_weight*>(a), &n);
  };
  return {
      {"nm_linear_pack_size", size, {structure("args", w, sizes)}},
      {"nm_linear_pack", pack, {structure("args", w, fields(w))}},
      {"nm_linear_pack", pack, {structure("args", f, {COUNT(f, n), COUNT(f, k), ENUM(f, type), POINTER(f, data)})}},
      OP(nm_linear, l,
         {COUNT(l, m), POINTER(l, image), AT_LEAST(l, image_bytes), POINTER(l, x), COUNT(l, x_stride), POINTER(l, y),
          COUNT(l, y_stride), OPTIONAL(l, bias), OPTIONAL(l, residual), COUNT(l, residual_stride), CANCEL(l)})};
}

std::vector<Entry> Calls::rows() {
  nm_convert_args& c = convert_;
  nm_embedding_args& e = embedding_;
  nm_norm_args &r = rms_, &n = layer_;
  nm_rope_args& o = rope_;
  nm_activation_args& a = activation_;
  const auto norm = [](nm_norm_args& v) {
    return std::vector<Field>{COUNT(v, rows), COUNT(v, groups),   COUNT(v, cols),     POINTER(v, x),
                              POINTER(v, y),  COUNT(v, x_stride), COUNT(v, y_stride), CANCEL(v)};
  };
  std::vector<Field> rms = norm(r), layer = norm(n);
  rms.push_back(OPTIONAL(r, weight));
  layer.insert(layer.end(), {OPTIONAL(n, weight), OPTIONAL(n, bias)});
  return {
      OP(nm_convert, c, {COUNT(c, count), ENUM(c, from), ENUM(c, to), POINTER(c, x), POINTER(c, y), CANCEL(c)}),
      OP(nm_embedding, e,
         {COUNT(e, t), COUNT(e, rows), COUNT(e, cols), ENUM(e, type), POINTER(e, table), POINTER(e, ids), POINTER(e, y),
          COUNT(e, table_stride), COUNT(e, y_stride), OPTIONAL(e, residual), COUNT(e, residual_stride), CANCEL(e)}),
      OP(nm_rms_norm, r, rms),
      OP(nm_layer_norm, n, layer),
      OP(nm_rope, o,
         {COUNT(o, t), COUNT(o, heads), COUNT(o, head_dim), COUNT(o, half), ENUM(o, interleaved), POINTER(o, x),
          COUNT(o, x_stride), POINTER(o, cos), POINTER(o, sin), CANCEL(o)}),
      OP(nm_activate, a,
         {COUNT(a, rows), COUNT(a, cols), ENUM(a, kind), POINTER(a, x), OPTIONAL(a, up), POINTER(a, y),
          COUNT(a, x_stride), COUNT(a, up_stride), COUNT(a, y_stride), CANCEL(a)})};
}

std::vector<Entry> Calls::attention() {
  nm_rope_table_args& t = table_;
  nm_kv_append_args& p = append_;
  nm_attention_args& a = attention_;
  nm_batch& b = batch_;
  nm_kv_cache& c = cache_;
  const auto positions = structure("batch", b, {COUNT(b, tokens), POINTER(b, positions)});
  const auto batch = structure("batch", b,
                               {COUNT(b, tokens), COUNT(b, sequences), POINTER(b, positions), POINTER(b, sequence),
                                POINTER(b, block_table), COUNT(b, block_table_stride)});
  const auto cache = structure("cache", c,
                               {ENUM(c, type), COUNT(c, blocks), COUNT(c, block_size), COUNT(c, kv_heads),
                                COUNT(c, head_dim), POINTER(c, keys), POINTER(c, values)});
  std::vector<Entry> all = {
      OP(nm_rope_table, t,
         {COUNT(t, half), STRUCT(t, batch), POINTER(t, inv_freq), POINTER(t, cos), POINTER(t, sin), CANCEL(t)}),
      OP(nm_kv_append, p,
         {STRUCT(p, batch), STRUCT(p, cache), POINTER(p, key), POINTER(p, value), COUNT(p, key_stride),
          COUNT(p, value_stride), CANCEL(p)}),
      OP(nm_attention, a,
         {COUNT(a, heads), COUNT(a, window), STRUCT(a, batch), STRUCT(a, cache), POINTER(a, q), POINTER(a, y),
          COUNT(a, q_stride), COUNT(a, y_stride), CANCEL(a)})};
  all[0].structs.push_back(positions);
  for (size_t i : {1u, 2u}) all[i].structs.insert(all[i].structs.end(), {batch, cache});
  return all;
}

std::vector<Entry> Calls::logits() {
  nm_softmax_args& x = softmax_;
  nm_sample_args& s = sample_;
  nm_nll_args& n = nll_;
  nm_kl_args& k = kl_;
  return {OP(nm_softmax, x,
             {COUNT(x, rows), COUNT(x, cols), POINTER(x, x), POINTER(x, y), COUNT(x, x_stride), COUNT(x, y_stride),
              CANCEL(x)}),
          OP(nm_sample, s,
             {COUNT(s, rows), COUNT(s, vocab), FREE(s, top_k), POINTER(s, logits), COUNT(s, logits_stride),
              POINTER(s, uniform), POINTER(s, ids), OPTIONAL(s, logprobs), CANCEL(s)}),
          OP(nm_nll, n,
             {COUNT(n, rows), COUNT(n, vocab), POINTER(n, logits), COUNT(n, logits_stride), POINTER(n, targets),
              POINTER(n, nll), CANCEL(n)}),
          OP(nm_kl, k,
             {COUNT(k, rows), COUNT(k, vocab), POINTER(k, reference), COUNT(k, reference_stride), POINTER(k, logits),
              COUNT(k, logits_stride), POINTER(k, kl), OPTIONAL(k, top_reference), OPTIONAL(k, top), CANCEL(k)})};
}

std::vector<Entry> Calls::codes() {
  nm_rtn_args& r = rtn_;
  nm_dequantize_args& d = dequantize_;
  nm_gptq_args& g = gptq_;
  nm_awq_args& a = awq_;
  nm_codes& c = codes_;
  std::vector<Field> sizes = {COUNT(c, n),   COUNT(c, k),       COUNT(c, group_size),
                              ENUM(c, bits), POINTER(c, codes), POINTER(c, zeros)};
  std::vector<Field> whole = sizes;
  whole.push_back(POINTER(c, scales));
  const std::vector<Field> words = {STRUCT(g, codes),    ENUM(g, zero_offset), ENUM(g, word_bits), ENUM(g, planar),
                                    POINTER(g, qweight), POINTER(g, qzeros),   CANCEL(g)};
  const std::vector<Field> nibbles = {STRUCT(a, codes), POINTER(a, qweight), POINTER(a, qzeros), CANCEL(a)};
  std::vector<Entry> all = {
      OP(nm_rtn, r, {ENUM(r, sym), ENUM(r, scale_type), STRUCT(r, out), POINTER(r, w), COUNT(r, w_stride), CANCEL(r)}),
      OP(nm_dequantize, d, {STRUCT(d, in), POINTER(d, w), COUNT(d, w_stride), CANCEL(d)}),
      OP(nm_gptq_pack, g, words),
      OP(nm_gptq_unpack, g, words),
      OP(nm_awq_pack, a, nibbles),
      OP(nm_awq_unpack, a, nibbles)};
  for (size_t i = 0; i < all.size(); i++) all[i].structs.push_back(structure("codes", c, i < 2 ? whole : sizes));
  nm_words_args& w = words_;
  const std::vector<Field> rows = {ENUM(w, layout),   ENUM(w, bits),     COUNT(w, n), COUNT(w, k),
                                   POINTER(w, codes), POINTER(w, words), CANCEL(w)};
  all.push_back(OP(nm_words_pack, w, rows));
  all.push_back(OP(nm_words_unpack, w, rows));
  return all;
}

std::vector<Entry> Calls::gptq() {
  nm_gram_args& g = gram_;
  nm_gptq_factor_args& f = factor_;
  nm_gptq_quantize_args& q = quantize_;
  nm_codes& c = codes_;
  std::vector<Entry> all = {OP(nm_gram, g,
                               {COUNT(g, t), COUNT(g, k), POINTER(g, x), COUNT(g, x_stride), POINTER(g, exact),
                                COUNT(g, exact_stride), POINTER(g, gram), POINTER(g, cross), CANCEL(g)}),
                            OP(nm_gptq_factor, f,
                               {ENUM(f, order), COUNT(f, rows), COUNT(f, k), COUNT(f, group_size), POINTER(f, gram),
                                POINTER(f, cross), POINTER(f, factor), POINTER(f, cross_factor), POINTER(f, pivots),
                                POINTER(f, perm), POINTER(f, used), CANCEL(f)}),
                            OP(nm_gptq_quantize, q,
                               {ENUM(q, sym), ENUM(q, scale_type), ENUM(q, static_groups), ENUM(q, refresh),
                                POINTER(q, w), COUNT(q, w_stride), POINTER(q, factor), OPTIONAL(q, cross_factor),
                                POINTER(q, pivots), POINTER(q, perm), STRUCT(q, out), POINTER(q, loss), CANCEL(q)})};
  all[2].structs.push_back(structure("codes", c,
                                     {COUNT(c, n), COUNT(c, k), COUNT(c, group_size), ENUM(c, bits), POINTER(c, codes),
                                      POINTER(c, scales), POINTER(c, zeros)}));
  nm_awq_round_args& r = round_;
  nm_awq_clip_args& l = clip_;
  all.push_back(
      OP(nm_awq_round, r,
         {ENUM(r, bits), ENUM(r, sym), ENUM(r, scale_type), COUNT(r, n), COUNT(r, k), COUNT(r, group_size),
          POINTER(r, w), COUNT(r, w_stride), POINTER(r, scale), POINTER(r, y), COUNT(r, y_stride), CANCEL(r)}));
  all.push_back(OP(nm_awq_clip, l,
                   {ENUM(l, bits), ENUM(l, sym), ENUM(l, scale_type), COUNT(l, n), COUNT(l, k), COUNT(l, group_size),
                    POINTER(l, gram), OPTIONAL(l, scale), POINTER(l, w), COUNT(l, w_stride), CANCEL(l)}));
  nm_eora_args& e = eora_;
  all.push_back(OP(nm_eora, e,
                   {COUNT(e, n), COUNT(e, k), COUNT(e, rank), POINTER(e, d), COUNT(e, d_stride), POINTER(e, gram),
                    POINTER(e, a), POINTER(e, b), POINTER(e, taken), CANCEL(e)}));
  return all;
}

std::vector<Entry> Calls::entries() {
  std::vector<Entry> all = weights();
  for (const auto& part : {rows(), attention(), logits(), codes(), gptq()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

/** Runs a spoilt call and says what it must have given. */
class Spoiler {
 public:
  Spoiler(const Entry& entry, nm_engine* engine) : entry_(entry), engine_(engine) {}

  void expect(int32_t status, const std::string& what, bool refused) {
    const std::string message = nmtest::message();
    const std::string prefix = std::string(entry_.name) + ": ";
    if (refused) {
      NM_CHECK_MSG(status == NM_ERR_ARGUMENT || status == NM_ERR_UNSUPPORTED || status == NM_ERR_STRUCT_SIZE,
                   "%s, %s: gave %d", entry_.name, what.c_str(), status);
      NM_CHECK_MSG(message.compare(0, prefix.size(), prefix) == 0 && message.size() > prefix.size() + 3,
                   "%s, %s: says '%s'", entry_.name, what.c_str(), message.c_str());
    } else {
      NM_CHECK_MSG(status == NM_OK, "%s, %s: gave %d (%s)", entry_.name, what.c_str(), status, message.c_str());
    }
  }

  int32_t call() const { return entry_.call(engine_, entry_.structs[0].at); }

  /** The call with these bytes instead of those at `at`. */
  template <class T>
  int32_t with(char* at, const T& value) const {
    T before;
    std::memcpy(&before, at, sizeof before);
    std::memcpy(at, &value, sizeof value);
    const int32_t status = call();
    std::memcpy(at, &before, sizeof before);
    return status;
  }

 private:
  const Entry& entry_;
  nm_engine* engine_;
};

template <class T>
T read(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void spoil_pointer(Spoiler& s, const Field& f, const std::string& where) {
  const char* address = read<const char*>(f.at);
  s.expect(s.with<const char*>(f.at, nullptr), where + " NULL", f.kind != Kind::kOptional);
  // A void* is aligned like what it holds; those of the table hold float32, uint16_t or a packed image.
  const bool bytes = f.alignment == 1 && std::strcmp(f.name, "codes") != 0 && std::strcmp(f.name, "zeros") != 0;
  const char* odd = address == nullptr ? reinterpret_cast<const char*>(uintptr_t{1}) : address + 1;
  if (f.alignment > 1 || bytes) s.expect(s.with(f.at, odd), where + " misaligned", true);
}

void spoil_number(Spoiler& s, const Field& f, const std::string& where) {
  for (const int64_t bad : {int64_t{-1}, std::numeric_limits<int64_t>::min()})
    s.expect(s.with(f.at, bad), where + " = " + std::to_string(bad), true);
  if (f.kind == Kind::kCount)
    for (const int64_t bad : {std::numeric_limits<int64_t>::max(), int64_t{1} << 62, (int64_t{1} << 61) + 1})
      s.expect(s.with(f.at, bad), where + " = " + std::to_string(bad), true);
  const int32_t none = s.with(f.at, int64_t{0});
  s.expect(none, where + " = 0", none != NM_OK);
  if (f.kind == Kind::kAtLeast)
    for (const int64_t bad : {int64_t{1}, int64_t{64}, read<int64_t>(f.at) - 1})
      s.expect(s.with(f.at, bad), where + " = " + std::to_string(bad), true);
}

void spoil(Spoiler& s, const Field& f, const std::string& where) {
  if (f.kind == Kind::kEnum) {
    for (const int32_t bad : {-1, 99, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()})
      s.expect(s.with(f.at, bad), where + " = " + std::to_string(bad), true);
  } else if (f.kind == Kind::kCount || f.kind == Kind::kFree || f.kind == Kind::kAtLeast) {
    spoil_number(s, f, where);
  } else {
    spoil_pointer(s, f, where);
  }
}

}  // namespace

NM_TEST(every_op_refuses_dead_handles) {
  nmtest::TestEngine engine(NM_TIER_REFERENCE, 1);
  nm_engine_options options = args<nm_engine_options>();
  options.threads = 1;
  nm_engine* dead = nullptr;
  NM_OK_CALL(nm_engine_create(&options, &dead));
  NM_OK_CALL(nm_engine_destroy(dead));
  auto* odd = reinterpret_cast<nm_engine*>(reinterpret_cast<char*>(static_cast<nm_engine*>(engine)) + 1);
  Calls calls(engine);
  for (const Entry& entry : calls.entries()) {
    const void* good = entry.structs[0].at;
    NM_REFUSED(entry.call(nullptr, good), NM_ERR_HANDLE, entry.name);
    NM_REFUSED(entry.call(dead, good), NM_ERR_HANDLE, "destroyed");
    NM_REFUSED(entry.call(odd, good), NM_ERR_HANDLE, "not a handle");
    NM_REFUSED(entry.call(nullptr, nullptr), NM_ERR_HANDLE, entry.name);
  }
}

NM_TEST(every_op_refuses_structs_it_does_not_know) {
  nmtest::TestEngine engine(NM_TIER_REFERENCE, 1);
  Calls calls(engine);
  for (const Entry& entry : calls.entries()) {
    NM_REFUSED(entry.call(engine, nullptr), NM_ERR_ARGUMENT, "NULL");
    NM_REFUSED(entry.call(engine, entry.structs[0].at + 1), NM_ERR_ARGUMENT, "misaligned");
    Spoiler s(entry, engine);
    for (const nmtest::Struct& part : entry.structs) {
      const auto size = static_cast<uint32_t>(part.bytes);
      for (const uint32_t wrong : {0u, 1u, size - 1, size - 8, size + 1, size + 8, 0xffffffffu})
        NM_REFUSED(s.with(part.at, wrong), NM_ERR_STRUCT_SIZE, "struct_size");
    }
    NM_OK_CALL(s.call());
  }
}

NM_TEST(every_field_of_every_op_may_be_wrong) {
  nmtest::on_every_tier([](const nmtest::TestEngine& engine) {
    Calls calls(engine);
    for (const Entry& entry : calls.entries()) {
      Spoiler s(entry, engine);
      NM_OK_CALL(s.call());
      for (const nmtest::Struct& part : entry.structs)
        for (const Field& f : part.fields) spoil(s, f, std::string(part.name) + "." + f.name);
      NM_OK_CALL(s.call());
    }
  });
}

NM_TEST(a_cancel_that_is_set_is_seen_and_forgotten) {
  nmtest::TestEngine engine(NM_TIER_REFERENCE, 2);
  Calls calls(engine);
  const int32_t set = 1;
  for (const Entry& entry : calls.entries()) {
    Spoiler s(entry, engine);
    for (const Field& f : entry.structs[0].fields) {
      if (std::strcmp(f.name, "cancel") != 0) continue;
      const int32_t status = s.with(f.at, &set);
      NM_CHECK_MSG(status == NM_ERR_CANCELLED, "%s: gave %d", entry.name, status);
      NM_OK_CALL(s.call());
    }
  }
}

NM_TEST(entry_points_that_are_no_ops) {
  nmtest::TestEngine engine(NM_TIER_REFERENCE, 1);
  char text[8];
  int32_t number = 0;
  int64_t bytes = 0;
  void* address = nullptr;
  nm_engine* made = nullptr;
  auto* odd_engine = reinterpret_cast<nm_engine**>(reinterpret_cast<char*>(&made) + 1);
  auto* odd = reinterpret_cast<int32_t*>(text + 1);
  for (const int64_t cap : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    NM_CHECK(nm_last_error(text, cap) == NM_ERR_ARGUMENT);
    NM_REFUSED(nm_tier_name(0, text, cap), NM_ERR_ARGUMENT, "cap");
    NM_REFUSED(nm_tier_reason(0, text, cap), NM_ERR_ARGUMENT, "cap");
    NM_REFUSED(nm_device_count(0, &number, text, cap), NM_ERR_ARGUMENT, "cap");
  }
  NM_CHECK(nm_last_error(nullptr, 8) == NM_ERR_ARGUMENT);
  NM_REFUSED(nm_tier_name(0, nullptr, 8), NM_ERR_ARGUMENT, "buffer");
  NM_REFUSED(nm_tier_reason(0, nullptr, 8), NM_ERR_ARGUMENT, "buffer");
  for (const int32_t bad : {-1, static_cast<int32_t>(NM_TIER_COUNT), std::numeric_limits<int32_t>::min()}) {
    NM_REFUSED(nm_tier_name(bad, text, 8), NM_ERR_ARGUMENT, "tier");
    NM_REFUSED(nm_tier_reason(bad, text, 8), NM_ERR_ARGUMENT, "tier");
    NM_REFUSED(nm_device_count(bad, &number, nullptr, 0), NM_ERR_ARGUMENT, "kind");
    nm_device_info device = args<nm_device_info>();
    NM_REFUSED(nm_device_query(bad, 0, &device), NM_ERR_ARGUMENT, "kind");
    NM_REFUSED(nm_device_query(0, bad, &device), NM_ERR_ARGUMENT, "index");
  }
  NM_REFUSED(nm_abi_version(odd, &number), NM_ERR_ARGUMENT, "misaligned");
  NM_REFUSED(nm_abi_version(&number, nullptr), NM_ERR_ARGUMENT, "minor");
  NM_REFUSED(nm_device_count(0, nullptr, nullptr, 0), NM_ERR_ARGUMENT, "count");
  NM_REFUSED(nm_device_query(0, 0, nullptr), NM_ERR_ARGUMENT, "info");
  NM_REFUSED(nm_cpu_query(nullptr), NM_ERR_ARGUMENT, "info");
  NM_REFUSED(nm_engine_query(engine, nullptr), NM_ERR_ARGUMENT, "info");
  nm_cpu_info cpu = {};
  NM_REFUSED(nm_cpu_query(&cpu), NM_ERR_STRUCT_SIZE, "struct_size");
  nm_engine_info info = {};
  NM_REFUSED(nm_engine_query(engine, &info), NM_ERR_STRUCT_SIZE, "struct_size");
  nm_engine_options options = args<nm_engine_options>();
  NM_REFUSED(nm_engine_create(&options, odd_engine), NM_ERR_ARGUMENT, "misaligned");
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max(), int64_t{1} << 62})
    NM_REFUSED(nm_buffer_alloc(engine, bad, &address), NM_ERR_ARGUMENT, "bytes");
  NM_REFUSED(nm_buffer_alloc(nullptr, 8, &address), NM_ERR_HANDLE, "engine");
  NM_REFUSED(nm_buffer_free(nullptr, nullptr), NM_ERR_HANDLE, "engine");
  NM_REFUSED(nm_buffer_copy(engine, nullptr, text, 8, 0), NM_ERR_ARGUMENT, "to");
  NM_REFUSED(nm_buffer_copy(engine, text, text, std::numeric_limits<int64_t>::max(), 0), NM_ERR_ARGUMENT, "bytes");
  NM_REFUSED(nm_engine_sync(nullptr), NM_ERR_HANDLE, "engine");
  nm_weight weight = args<nm_weight>();
  weight.n = weight.k = 8;
  NM_REFUSED(nm_linear_pack_size(engine, &weight, nullptr), NM_ERR_ARGUMENT, "bytes");
  nm_linear_info linear = args<nm_linear_info>();
  NM_REFUSED(nm_linear_query(engine, nullptr, 4096, &linear), NM_ERR_ARGUMENT, "image");
  NM_OK_CALL(nm_linear_pack_size(engine, &weight, &bytes));
}

NM_TEST(a_packed_image_of_any_bytes_is_refused_or_runs) {
  nmtest::TestEngine engine(NM_TIER_REFERENCE, 1);
  Calls calls(engine);
  for (const Entry& entry : calls.entries()) {
    if (std::strcmp(entry.name, "nm_linear") != 0) continue;
    nm_linear_args a = read<nm_linear_args>(entry.structs[0].at);
    const auto* image = static_cast<const uint8_t*>(a.image);
    Guarded<uint64_t> copy(a.image_bytes / 8);
    a.image = copy.data();
    nmtest::Random random(11);
    int refused = 0;
    for (int round = 0; round < 4000; round++) {
      std::memcpy(copy.data(), image, static_cast<size_t>(a.image_bytes));
      auto* bytes = reinterpret_cast<uint8_t*>(copy.data());
      for (int64_t i = 1 + random.below(3); i > 0; i--)
        bytes[random.below(round % 2 == 0 ? 128 : a.image_bytes)] = static_cast<uint8_t>(random.bits());
      const int32_t status = nm_linear(engine, &a);
      NM_CHECK_MSG(status == NM_OK || status == NM_ERR_ARGUMENT, "round %d: gave %d", round, status);
      refused += status != NM_OK;
    }
    NM_CHECK_MSG(refused > 1000, "only %d damaged images were refused", refused);
  }
}

/** A function of the header that no test above names would be a hole in the table. */
NM_TEST(the_table_names_every_function_of_the_header) {
  std::ifstream header(NM_SOURCE_DIR "/csrc/include/nanomodel.h"),
      self(NM_SOURCE_DIR "/tests/native/abi_safety_test.cc");
  NM_CHECK(header.good() && self.good());
  std::stringstream text;
  text << self.rdbuf();
  int functions = 0;
  for (std::string line; std::getline(header, line);) {
    if (line.rfind("NM_API int32_t ", 0) != 0) continue;
    const std::string name = line.substr(15, line.find('(') - 15);
    functions++;
    NM_CHECK_MSG(text.str().find(name + "(") != std::string::npos || text.str().find(name + ",") != std::string::npos ||
                     text.str().find("\"" + name + "\"") != std::string::npos,
                 "%s is not in this file", name.c_str());
  }
  NM_CHECK_MSG(functions > 30, "the header has %d functions", functions);
}
