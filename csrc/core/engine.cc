#include "core/engine.h"

namespace nm {
namespace {
constexpr std::align_val_t kAlign{64};
constexpr int kDefaultSpinUs = 50;

int spin_of(const nm_engine_options& options) {
  if (options.spin_us < 0) return 0;
  return options.spin_us == 0 ? kDefaultSpinUs : options.spin_us;
}
}  // namespace

void* WorkMemory::bytes(size_t wanted) {
  if (wanted > size_) {
    release();
    const size_t rounded = (wanted + wanted / 4 + 4095) / 4096 * 4096;
    memory_ = ::operator new(rounded, kAlign);
    size_ = rounded;
  }
  return memory_;
}

void WorkMemory::release() {
  if (memory_ != nullptr) ::operator delete(memory_, kAlign);
  memory_ = nullptr;
  size_ = 0;
}

Engine::Engine(const nm_engine_options& options, int32_t threads, int32_t tier)
    : device_kind_(options.device_kind),
      device_index_(options.device_index),
      activations_(options.activations),
      kernels_(&kernel_table(tier)),
      pool_(threads, spin_of(options)) {
  for (int32_t i = 0; i < threads; i++) work_.push_back(std::make_unique<WorkMemory>());
}

}  // namespace nm
