// An engine: one device, its threads, the kernel table of its tier, and work memory that grows as needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "core/dispatch.h"
#include "core/status.h"
#include "core/thread_pool.h"
#include "nanomodel.h"

namespace nm {

/** Cache-line aligned memory that only grows; contents are not kept. */
class WorkMemory {
 public:
  WorkMemory() = default;
  WorkMemory(const WorkMemory&) = delete;
  WorkMemory& operator=(const WorkMemory&) = delete;
  ~WorkMemory() { release(); }

  template <class T>
  T* get(int64_t count) {
    return static_cast<T*>(bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  void* bytes(size_t wanted);
  void release();
  void* memory_ = nullptr;
  size_t size_ = 0;
};

class Engine {
 public:
  Engine(const nm_engine_options& options, int32_t threads, int32_t tier);

  int32_t device_kind() const { return device_kind_; }
  int32_t device_index() const { return device_index_; }
  int threads() const { return pool_.threads(); }
  const KernelTable& kernels() const { return *kernels_; }

  /**
   * fn(begin, end, worker) over [0, items) in chunks of `grain`. Choose the grain so that a chunk is worth tens of
   * microseconds: a range of one chunk runs on the caller alone. Throws NM_ERR_CANCELLED.
   */
  template <class F>
  void parallel_for(int64_t items, int64_t grain, const int32_t* cancel, F&& fn) {
    using Fn = std::remove_reference_t<F>;
    const auto body = [](void* context, int64_t begin, int64_t end, int worker) {
      (*static_cast<Fn*>(context))(begin, end, worker);
    };
    if (!pool_.run(items, grain, cancel, body, const_cast<void*>(static_cast<const void*>(&fn))))
      fail(NM_ERR_CANCELLED, "cancelled by the caller");
  }

  int32_t activations() const { return activations_; }  // nm_activations

  /** Work memory of one worker, for use inside parallel_for; reserve it before (growing throws). */
  WorkMemory& work(int worker) { return *work_[static_cast<size_t>(worker)]; }
  /** Work memory that all workers see. */
  WorkMemory& shared_work() { return shared_work_; }

 private:
  const int32_t device_kind_, device_index_, activations_;
  const KernelTable* kernels_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<WorkMemory>> work_;
  WorkMemory shared_work_;
};

}  // namespace nm
