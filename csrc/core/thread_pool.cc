#include "core/thread_pool.h"

#include <algorithm>
#include <chrono>

namespace nm {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ThreadPool::ThreadPool(int threads, int spin_us) : spin_ns_(int64_t{1000} * spin_us) {
  workers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int id = 1; id < threads; id++) workers_.emplace_back([this, id] { worker(id); });
  } catch (...) {  // the system gave fewer threads: end those that run
    stop_ = true;
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (std::thread& t : workers_) t.join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (std::thread& t : workers_) t.join();
}

bool ThreadPool::cancelled() const {
  return job_.cancel != nullptr && __atomic_load_n(job_.cancel, __ATOMIC_RELAXED) != 0;
}

void ThreadPool::take_chunks(int id) {
  for (;;) {
    const int64_t begin = next_.fetch_add(job_.grain, std::memory_order_relaxed);
    if (begin >= job_.items) return;
    if (cancelled()) {
      cut_.store(true, std::memory_order_relaxed);
      return;
    }
    job_.body(job_.context, begin, std::min(begin + job_.grain, job_.items), id);
  }
}

bool ThreadPool::run(int64_t items, int64_t grain, const int32_t* cancel, Body body, void* context) {
  job_ = Job{body, context, items, std::max<int64_t>(grain, 1), cancel};
  cut_.store(false, std::memory_order_relaxed);
  next_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || items <= job_.grain) {
    take_chunks(0);
    return !cut_.load(std::memory_order_relaxed);
  }
  gate_.store(kOpen, std::memory_order_release);
  epoch_.fetch_add(1);
  if (sleepers_.load() > 0) epoch_.notify_all();
  take_chunks(0);
  gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  // Nobody can enter now; wait for those inside. A descheduled worker must get the core: yield after a while.
  for (int spins = 0; gate_.load(std::memory_order_acquire) != 0; spins++) {
    if (spins < 2000)
      pause();
    else
      std::this_thread::yield();
  }
  return !cut_.load(std::memory_order_relaxed);
}

void ThreadPool::worker(int id) {
  uint32_t seen = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const int64_t deadline = now_ns() + spin_ns_;
    int spins = 0;
    while (epoch_.load(std::memory_order_acquire) == seen) {
      pause();
      if (++spins % 64 == 0 && now_ns() > deadline) {
        sleepers_.fetch_add(1);
        epoch_.wait(seen);
        sleepers_.fetch_sub(1);
      }
    }
    seen = epoch_.load(std::memory_order_acquire);
    uint32_t gate = gate_.load(std::memory_order_acquire);
    while ((gate & kOpen) != 0) {
      if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) {
        take_chunks(id);
        gate_.fetch_sub(1, std::memory_order_acq_rel);
        break;
      }
    }
  }
}

}  // namespace nm
