// The engine's threads. The caller is worker 0; the others spin briefly for the next job, then sleep. A job is a range
// cut into chunks that the workers take one after the other, so a worker that wakes late or is descheduled holds up
// nobody. Which worker runs a chunk never changes a result: chunks do not share accumulators.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace nm {

class ThreadPool {
 public:
  using Body = void (*)(void* context, int64_t begin, int64_t end, int worker);

  /** spin_us: how long an idle worker spins before it sleeps. */
  ThreadPool(int threads, int spin_us);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /**
   * Runs body over [0, items) in chunks of `grain`; returns when all are done. False when *cancel (may be NULL) became
   * non-zero before the last chunk was taken. One caller at a time. A range of a single chunk wakes nobody.
   */
  bool run(int64_t items, int64_t grain, const int32_t* cancel, Body body, void* context);

 private:
  void worker(int id);
  void take_chunks(int id);
  bool cancelled() const;

  struct Job {
    Body body = nullptr;
    void* context = nullptr;
    int64_t items = 0, grain = 1;
    const int32_t* cancel = nullptr;
  };

  static constexpr uint32_t kOpen = 1u << 31;  // in gate_: the job may be entered; below: workers inside

  Job job_;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false}, cut_{false};
  const int64_t spin_ns_;
  std::vector<std::thread> workers_;
};

}  // namespace nm
