// The C boundary: checks every argument, turns exceptions into status codes and keeps the last error. No mathematics.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>

#include "activation/activation.h"
#include "attention/attention.h"
#include "calibrate/calibrate.h"
#include "calibrate/gptq.h"
#include "convert/convert.h"
#include "core/check.h"
#include "core/cpu_probe.h"
#include "core/cuda_backend.h"
#include "core/engine.h"
#include "linear/linear.h"
#include "nanomodel.h"
#include "norm/norm.h"
#include "pack/awq.h"
#include "pack/gptq.h"
#include "pack/words.h"
#include "rope/rope.h"
#include "sampling/sampling.h"

/**
 * What a handle points at. Shells are never freed, so that a call through a destroyed handle finds an empty shell and
 * fails, instead of touching freed memory.
 */
struct nm_engine {
  std::mutex busy;
  std::unique_ptr<nm::Engine> engine;
};

namespace nm {
namespace {

template <class F>
int32_t guarded(const char* function, F&& body) noexcept {
  try {
    body();
    return NM_OK;
  } catch (const Error& e) {
    set_last_error(function, e.message);
    return e.code;
  } catch (const std::bad_alloc&) {
    set_last_error(function, "out of memory");
    return NM_ERR_MEMORY;
  } catch (const std::exception& e) {
    set_last_error(function, e.what());
    return NM_ERR_INTERNAL;
  } catch (...) {
    set_last_error(function, "unknown exception");
    return NM_ERR_INTERNAL;
  }
}

/** Runs body(engine) alone on the engine of a live handle. */
template <class F>
int32_t on_engine(const char* function, nm_engine* handle, F&& body) noexcept {
  return guarded(function, [&] {
    if (handle == nullptr) fail(NM_ERR_HANDLE, "engine: got NULL");
    if (reinterpret_cast<uintptr_t>(handle) % alignof(nm_engine) != 0) fail(NM_ERR_HANDLE, "engine: not a handle");
    const std::lock_guard<std::mutex> lock(handle->busy);
    if (handle->engine == nullptr) fail(NM_ERR_HANDLE, "engine: was destroyed");
    body(*handle->engine);
  });
}

/** One op: a live engine, a struct of the right size, then op(engine, args), which checks the fields. */
template <class Args, class F>
int32_t run_op(const char* function, nm_engine* handle, const Args* args, F&& op) noexcept {
  return on_engine(function, handle, [&](Engine& engine) { op(engine, check_struct("args", args)); });
}

template <class T>
T& check_out(const char* name, T* out) {
  return const_cast<T&>(check_struct(name, static_cast<const T*>(out)));
}

template <class T>
T& check_result(const char* name, T* out) {
  if (out == nullptr) fail(NM_ERR_ARGUMENT, "%s: got NULL", name);
  if (reinterpret_cast<uintptr_t>(out) % alignof(T) != 0) fail(NM_ERR_ARGUMENT, "%s: misaligned", name);
  return *out;
}

void copy_text(char* buffer, int64_t cap, const char* text) {
  if (cap < 1) fail(NM_ERR_ARGUMENT, "cap: got %lld, expected at least 1", static_cast<long long>(cap));
  if (buffer == nullptr) fail(NM_ERR_ARGUMENT, "buffer: got NULL");
  std::snprintf(buffer, static_cast<size_t>(std::min<int64_t>(cap, 1 << 20)), "%s", text);
}

nm_engine* new_shell() {
  static std::mutex mutex;
  static std::deque<nm_engine>* shells = new std::deque<nm_engine>();  // outlives every caller
  const std::lock_guard<std::mutex> lock(mutex);
  return &shells->emplace_back();
}

std::unique_ptr<Engine> create_engine(const nm_engine_options& options) {
  if (options.device_kind == NM_DEVICE_CUDA)
    fail(NM_ERR_UNSUPPORTED, "device_kind: engines on CUDA devices are not built yet, use 0 (CPU)");
  if (options.device_kind != NM_DEVICE_CPU)
    fail(NM_ERR_ARGUMENT, "device_kind: got %d, expected 0 (CPU) or 1 (CUDA)", options.device_kind);
  check_range("device_index", options.device_index, 0, 0);
  check_range("threads", options.threads, 0, 1024);
  check_range("spin_us", options.spin_us, -1, 1000000);
  check_range("activations", options.activations, NM_ACTIVATIONS_AUTO, NM_ACTIVATIONS_INT4);
  const CpuProbe& cpu = cpu_probe();
  const int32_t tier = options.tier == NM_TIER_AUTO ? cpu.best_tier : options.tier;
  check_range("tier", tier, 0, NM_TIER_COUNT - 1);
  if ((cpu.tiers >> tier & 1u) == 0)
    fail(NM_ERR_UNSUPPORTED, "tier: this CPU (%s) does not run %s: %s; its best is %s", cpu.brand, tier_name(tier),
         tier_reason(tier), tier_name(cpu.best_tier));
  const int32_t threads = options.threads == 0 ? cpu.logical_cores : options.threads;
  return std::make_unique<Engine>(options, threads, tier);
}

constexpr std::align_val_t kBufferAlign{64};

}  // namespace
}  // namespace nm

using nm::Engine;

extern "C" {

int32_t nm_abi_version(int32_t* major, int32_t* minor) {
  return nm::guarded("nm_abi_version", [&] {
    nm::check_result("major", major) = NM_ABI_MAJOR;
    nm::check_result("minor", minor) = NM_ABI_MINOR;
  });
}

int32_t nm_last_error(char* buffer, int64_t cap) {
  if (buffer == nullptr || cap < 1) return NM_ERR_ARGUMENT;
  std::snprintf(buffer, static_cast<size_t>(std::min<int64_t>(cap, 1 << 20)), "%s", nm::last_error());
  return NM_OK;
}

int32_t nm_cpu_query(nm_cpu_info* info) {
  return nm::guarded("nm_cpu_query", [&] {
    nm_cpu_info& out = nm::check_out("info", info);
    const nm::CpuProbe& cpu = nm::cpu_probe();
    out.logical_cores = cpu.logical_cores;
    out.affinity_cores = cpu.affinity_cores;
    std::memcpy(out.brand, cpu.brand, sizeof out.brand);
    std::memcpy(out.features, cpu.features, sizeof out.features);
    out.best_tier = cpu.best_tier;
    out.tiers = cpu.tiers;
  });
}

int32_t nm_tier_name(int32_t tier, char* buffer, int64_t cap) {
  return nm::guarded("nm_tier_name", [&] {
    nm::check_range("tier", tier, 0, NM_TIER_COUNT - 1);
    nm::copy_text(buffer, cap, nm::tier_name(tier));
  });
}

int32_t nm_tier_reason(int32_t tier, char* buffer, int64_t cap) {
  return nm::guarded("nm_tier_reason", [&] {
    nm::check_range("tier", tier, 0, NM_TIER_COUNT - 1);
    nm::copy_text(buffer, cap, nm::tier_reason(tier));
  });
}

int32_t nm_device_count(int32_t kind, int32_t* count, char* why, int64_t cap) {
  return nm::guarded("nm_device_count", [&] {
    nm::check_range("kind", kind, NM_DEVICE_CPU, NM_DEVICE_CUDA);
    int32_t& out = nm::check_result("count", count);
    const char* reason = "";
    out = kind == NM_DEVICE_CPU ? 1 : nm::cuda_device_count(&reason);
    if (why != nullptr) nm::copy_text(why, cap, reason);
  });
}

int32_t nm_device_query(int32_t kind, int32_t index, nm_device_info* info) {
  return nm::guarded("nm_device_query", [&] {
    nm::check_range("kind", kind, NM_DEVICE_CPU, NM_DEVICE_CUDA);
    nm_device_info& out = nm::check_out("info", info);
    if (kind == NM_DEVICE_CUDA) {
      nm::cuda_device_query(index, out);
      return;
    }
    nm::check_range("index", index, 0, 0);
    const uint32_t size = out.struct_size;
    out = nm_device_info{};
    out.struct_size = size;
    out.kind = NM_DEVICE_CPU;
    std::snprintf(out.name, sizeof out.name, "%s", nm::cpu_probe().brand);
    out.memory_total = nm::host_memory(&out.memory_free);
  });
}

int32_t nm_engine_create(const nm_engine_options* options, nm_engine** engine) {
  return nm::guarded("nm_engine_create", [&] {
    nm_engine*& out = nm::check_result("engine", engine);
    out = nullptr;
    std::unique_ptr<Engine> made = nm::create_engine(nm::check_struct("options", options));
    out = nm::new_shell();
    out->engine = std::move(made);
  });
}

int32_t nm_engine_destroy(nm_engine* engine) {
  if (engine == nullptr) return NM_OK;
  std::unique_ptr<Engine> last;
  const int32_t status = nm::on_engine("nm_engine_destroy", engine, [&](Engine&) { last = std::move(engine->engine); });
  return status;
}

int32_t nm_engine_query(nm_engine* engine, nm_engine_info* info) {
  return nm::on_engine("nm_engine_query", engine, [&](Engine& e) {
    nm_engine_info& out = nm::check_out("info", info);
    out.device_kind = e.device_kind();
    out.device_index = e.device_index();
    out.threads = e.threads();
    out.tier = e.kernels().tier;
  });
}

int32_t nm_engine_sync(nm_engine* engine) {
  return nm::on_engine("nm_engine_sync", engine, [](Engine&) {});
}

int32_t nm_buffer_alloc(nm_engine* engine, int64_t bytes, void** address) {
  return nm::on_engine("nm_buffer_alloc", engine, [&](Engine&) {
    void*& out = nm::check_result("address", address);
    out = nullptr;
    nm::check_range("bytes", bytes, 1, nm::kMaxBytes);
    out = ::operator new(static_cast<size_t>(bytes), nm::kBufferAlign);
    std::memset(out, 0, static_cast<size_t>(bytes));
  });
}

int32_t nm_buffer_free(nm_engine* engine, void* address) {
  return nm::on_engine("nm_buffer_free", engine, [&](Engine&) {
    if (address != nullptr) ::operator delete(address, nm::kBufferAlign);
  });
}

int32_t nm_buffer_copy(nm_engine* engine, void* to, const void* from, int64_t bytes, int32_t kind) {
  return nm::on_engine("nm_buffer_copy", engine, [&](Engine&) {
    nm::check_range("kind", kind, NM_COPY_HOST_TO_DEVICE, NM_COPY_DEVICE_TO_DEVICE);
    nm::check_range("bytes", bytes, 0, nm::kMaxBytes);
    nm::check_array("to", static_cast<uint8_t*>(to), bytes);
    nm::check_array("from", static_cast<const uint8_t*>(from), bytes);
    if (bytes > 0) std::memmove(to, from, static_cast<size_t>(bytes));
  });
}

int32_t nm_linear_pack_size(nm_engine* engine, const nm_weight* weight, int64_t* bytes) {
  return nm::run_op("nm_linear_pack_size", engine, weight, [&](Engine& e, const nm_weight& w) {
    nm::check_result("bytes", bytes) = nm::linear_pack_size(e, w);
  });
}

int32_t nm_linear_pack(nm_engine* engine, const nm_weight* weight, void* image, int64_t bytes) {
  return nm::run_op("nm_linear_pack", engine, weight,
                    [&](Engine& e, const nm_weight& w) { nm::linear_pack(e, w, image, bytes); });
}

int32_t nm_linear_query(nm_engine* engine, const void* image, int64_t bytes, nm_linear_info* info) {
  return nm::on_engine("nm_linear_query", engine,
                       [&](Engine& e) { nm::linear_query(e, image, bytes, nm::check_out("info", info)); });
}

#define NM_OP(name, args_type)                                                                           \
  int32_t nm_##name(nm_engine* engine, const args_type* args) {                                          \
    return nm::run_op("nm_" #name, engine, args, [](Engine& e, const args_type& a) { nm::name(e, a); }); \
  }

NM_OP(convert, nm_convert_args)
NM_OP(linear, nm_linear_args)
NM_OP(embedding, nm_embedding_args)
NM_OP(rms_norm, nm_norm_args)
NM_OP(layer_norm, nm_norm_args)
NM_OP(rope_table, nm_rope_table_args)
NM_OP(rope, nm_rope_args)
NM_OP(kv_append, nm_kv_append_args)
NM_OP(attention, nm_attention_args)
NM_OP(activate, nm_activation_args)
NM_OP(softmax, nm_softmax_args)
NM_OP(sample, nm_sample_args)
NM_OP(nll, nm_nll_args)
NM_OP(kl, nm_kl_args)
NM_OP(rtn, nm_rtn_args)
NM_OP(dequantize, nm_dequantize_args)
NM_OP(gram, nm_gram_args)
NM_OP(gptq_factor, nm_gptq_factor_args)
NM_OP(gptq_quantize, nm_gptq_quantize_args)
NM_OP(awq_round, nm_awq_round_args)
NM_OP(awq_clip, nm_awq_clip_args)
NM_OP(eora, nm_eora_args)
NM_OP(gptq_unpack, nm_gptq_args)
NM_OP(gptq_pack, nm_gptq_args)
NM_OP(awq_unpack, nm_awq_args)
NM_OP(awq_pack, nm_awq_args)
NM_OP(words_unpack, nm_words_args)
NM_OP(words_pack, nm_words_args)

#undef NM_OP

}  // extern "C"
