// The engine: thread pool, cancelling, handles, tiers, buffers, errors.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "core/engine.h"
#include "harness.h"

using nmtest::args;
using nmtest::TestEngine;

namespace {

nm_engine_options options_for(int32_t threads) {
  nm_engine_options options = args<nm_engine_options>();
  options.tier = NM_TIER_REFERENCE;
  options.threads = threads;
  return options;
}

}  // namespace

NM_TEST(every_item_runs_exactly_once_whatever_threads_and_grain) {
  for (const int32_t threads : {1, 2, 3, 8}) {
    nm::Engine engine(options_for(threads), threads, NM_TIER_REFERENCE);
    for (const int64_t items : {0, 1, 2, 7, 64, 1000}) {
      for (const int64_t grain : {1, 3, 64, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(items));
        std::atomic<int> bad_worker{0};
        engine.parallel_for(items, grain, nullptr, [&](int64_t begin, int64_t end, int worker) {
          if (worker < 0 || worker >= threads) bad_worker++;
          for (int64_t i = begin; i < end; i++) seen[static_cast<size_t>(i)]++;
        });
        NM_CHECK(bad_worker == 0);
        for (int64_t i = 0; i < items; i++)
          NM_CHECK_MSG(seen[static_cast<size_t>(i)] == 1, "item %lld of %lld ran %d times", static_cast<long long>(i),
                       static_cast<long long>(items), seen[static_cast<size_t>(i)].load());
      }
    }
  }
}

NM_TEST(back_to_back_jobs_never_mix) {
  // Jobs far shorter than a wake-up, with pauses beyond the spin time now and then: late wakers must not enter an old
  // job.
  nm_engine_options options = options_for(4);
  options.spin_us = 5;
  nm::Engine engine(options, 4, NM_TIER_REFERENCE);
  for (int job = 0; job < 20000; job++) {
    std::atomic<int64_t> sum{0};
    engine.parallel_for(8, 1, nullptr, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) sum += i + job;
    });
    NM_CHECK(sum == 28 + 8 * static_cast<int64_t>(job));
    if (job % 1000 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

NM_TEST(cancel_stops_between_chunks_and_the_engine_stays_usable) {
  nm::Engine engine(options_for(2), 2, NM_TIER_REFERENCE);
  int32_t cancel = 0;
  std::atomic<int> ran{0};
  bool thrown = false;
  try {
    engine.parallel_for(1000, 1, &cancel, [&](int64_t, int64_t, int) {
      if (++ran == 10) __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
    });
  } catch (const nm::Error& e) {
    thrown = e.code == NM_ERR_CANCELLED;
  }
  NM_CHECK(thrown);
  NM_CHECK(ran < 1000);
  ran = 0;
  engine.parallel_for(1000, 1, nullptr, [&](int64_t, int64_t, int) { ran++; });
  NM_CHECK(ran == 1000);
}

NM_TEST(work_memory_is_aligned_and_only_grows) {
  nm::WorkMemory work;
  float* small = work.get<float>(10);
  NM_CHECK(reinterpret_cast<uintptr_t>(small) % 64 == 0);
  float* large = work.get<float>(100000);
  large[99999] = 1;
  NM_CHECK(work.get<float>(10) == large);
}

NM_TEST(engine_reports_what_it_was_made_with) {
  for (const int32_t tier : nmtest::tiers()) {
    TestEngine engine(tier, 3);
    nm_engine_info info = args<nm_engine_info>();
    NM_OK_CALL(nm_engine_query(engine, &info));
    NM_CHECK(info.threads == 3 && info.tier == tier && info.device_kind == NM_DEVICE_CPU);
    NM_OK_CALL(nm_engine_sync(engine));
  }
}

NM_TEST(bad_options_are_refused_by_name) {
  nm_engine* engine = nullptr;
  nm_engine_options good = args<nm_engine_options>();
  good.tier = NM_TIER_AUTO;
  NM_REFUSED(nm_engine_create(nullptr, &engine), NM_ERR_ARGUMENT, "options");
  NM_REFUSED(nm_engine_create(&good, nullptr), NM_ERR_ARGUMENT, "engine");
  nm_engine_options bad = good;
  bad.struct_size = 4;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_STRUCT_SIZE, "struct_size");
  bad = good;
  bad.threads = -1;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_ARGUMENT, "threads");
  bad = good;
  bad.tier = 99;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_ARGUMENT, "tier");
  bad = good;
  bad.device_kind = 7;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_ARGUMENT, "device_kind");
  bad = good;
  bad.spin_us = -2;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_ARGUMENT, "spin_us");
  bad = good;
  bad.activations = 5;
  NM_REFUSED(nm_engine_create(&bad, &engine), NM_ERR_ARGUMENT, "activations: got 5");
  NM_CHECK(engine == nullptr);
}

NM_TEST(a_tier_that_does_not_run_here_is_refused_with_its_reason) {
  const std::vector<int32_t> here = nmtest::tiers();
  int refused = 0;
  for (int32_t tier = 0; tier < NM_TIER_COUNT; tier++) {
    char reason[200] = "x";
    NM_OK_CALL(nm_tier_reason(tier, reason, sizeof reason));
    const bool runs = std::find(here.begin(), here.end(), tier) != here.end();
    NM_CHECK_MSG(runs == (reason[0] == '\0'), "%s: '%s'", nmtest::name_of_tier(tier).c_str(), reason);
    if (runs) continue;
    refused++;
    nm_engine* engine = nullptr;
    nm_engine_options options = options_for(1);
    options.tier = tier;
    NM_REFUSED(nm_engine_create(&options, &engine), NM_ERR_UNSUPPORTED,
               (nmtest::name_of_tier(tier) + ": " + reason).c_str());
    NM_CHECK(engine == nullptr);
  }
  NM_CHECK_MSG(refused > 0, "no CPU runs the tiers of x86-64 and Arm");
}

NM_TEST(a_destroyed_or_null_handle_is_an_error_not_a_crash) {
  nm_engine_options options = options_for(2);
  nm_engine* engine = nullptr;
  NM_OK_CALL(nm_engine_create(&options, &engine));
  NM_OK_CALL(nm_engine_destroy(engine));
  NM_REFUSED(nm_engine_destroy(engine), NM_ERR_HANDLE, "destroyed");
  NM_OK_CALL(nm_engine_destroy(nullptr));
  nm_engine_info info = args<nm_engine_info>();
  NM_REFUSED(nm_engine_query(engine, &info), NM_ERR_HANDLE, "destroyed");
  NM_REFUSED(nm_engine_query(nullptr, &info), NM_ERR_HANDLE, "NULL");
  NM_REFUSED(nm_engine_query(reinterpret_cast<nm_engine*>(reinterpret_cast<char*>(engine) + 1), &info), NM_ERR_HANDLE,
             "not a handle");
  nm_convert_args convert = args<nm_convert_args>();
  NM_REFUSED(nm_convert(engine, &convert), NM_ERR_HANDLE, "destroyed");
}

NM_TEST(destroy_waits_for_the_call_in_flight_and_later_callers_are_refused) {
  for (int round = 0; round < 20; round++) {
    nm_engine_options options = options_for(2);
    nm_engine* engine = nullptr;
    NM_OK_CALL(nm_engine_create(&options, &engine));
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (int c = 0; c < 3; c++)
      callers.emplace_back([&] {
        std::vector<float> x(1 << 16, 1.0f), y(1 << 16);
        nm_convert_args a = args<nm_convert_args>();
        a.from = a.to = NM_F32;
        a.count = static_cast<int64_t>(x.size());
        a.x = x.data();
        a.y = y.data();
        for (int i = 0; i < 200; i++) {
          const int32_t status = nm_convert(engine, &a);
          if (status != NM_OK && status != NM_ERR_HANDLE) wrong++;
        }
      });
    NM_OK_CALL(nm_engine_destroy(engine));
    for (std::thread& t : callers) t.join();
    NM_CHECK(wrong == 0);
  }
}

NM_TEST(buffers_are_aligned_zeroed_and_copied) {
  TestEngine engine(NM_TIER_REFERENCE, 1);
  void* buffer = nullptr;
  NM_OK_CALL(nm_buffer_alloc(engine, 1000, &buffer));
  NM_CHECK(reinterpret_cast<uintptr_t>(buffer) % 64 == 0);
  for (int i = 0; i < 1000; i++) NM_CHECK(static_cast<char*>(buffer)[i] == 0);
  char from[1000], back[1000] = {};
  for (int i = 0; i < 1000; i++) from[i] = static_cast<char>(i);
  NM_OK_CALL(nm_buffer_copy(engine, buffer, from, 1000, NM_COPY_HOST_TO_DEVICE));
  NM_OK_CALL(nm_buffer_copy(engine, back, buffer, 1000, NM_COPY_DEVICE_TO_HOST));
  NM_CHECK(std::memcmp(from, back, 1000) == 0);
  NM_OK_CALL(nm_buffer_free(engine, buffer));
  NM_OK_CALL(nm_buffer_free(engine, nullptr));
  NM_REFUSED(nm_buffer_alloc(engine, -1, &buffer), NM_ERR_ARGUMENT, "bytes");
  NM_REFUSED(nm_buffer_alloc(engine, INT64_MAX, &buffer), NM_ERR_ARGUMENT, "bytes");
  NM_REFUSED(nm_buffer_alloc(engine, 16, nullptr), NM_ERR_ARGUMENT, "address");
  NM_REFUSED(nm_buffer_copy(engine, back, nullptr, 8, 0), NM_ERR_ARGUMENT, "from");
  NM_REFUSED(nm_buffer_copy(engine, back, from, -8, 0), NM_ERR_ARGUMENT, "bytes");
  NM_REFUSED(nm_buffer_copy(engine, back, from, 8, 9), NM_ERR_ARGUMENT, "kind");
}

NM_TEST(version_cpu_and_devices_answer) {
  int32_t major = -1, minor = -1;
  NM_OK_CALL(nm_abi_version(&major, &minor));
  NM_CHECK(major == NM_ABI_MAJOR && minor == NM_ABI_MINOR);
  NM_REFUSED(nm_abi_version(nullptr, &minor), NM_ERR_ARGUMENT, "major");
  nm_cpu_info cpu = args<nm_cpu_info>();
  NM_OK_CALL(nm_cpu_query(&cpu));
  NM_CHECK((cpu.tiers & 1u) == 1u && (cpu.tiers >> cpu.best_tier & 1u) == 1u);
  NM_CHECK(cpu.logical_cores >= 1 && cpu.brand[0] != '\0');
  int32_t count = -1;
  char why[200] = "x";
  NM_OK_CALL(nm_device_count(NM_DEVICE_CPU, &count, why, sizeof why));
  NM_CHECK(count == 1 && why[0] == '\0');
  NM_OK_CALL(nm_device_count(NM_DEVICE_CUDA, &count, why, sizeof why));
  NM_CHECK_MSG(count > 0 || why[0] != '\0', "no GPU, and no reason given");
  nm_device_info device = args<nm_device_info>();
  NM_OK_CALL(nm_device_query(NM_DEVICE_CPU, 0, &device));
  NM_CHECK(device.kind == NM_DEVICE_CPU && device.name[0] != '\0');
  NM_REFUSED(nm_device_query(NM_DEVICE_CPU, 1, &device), NM_ERR_ARGUMENT, "index");
}

NM_TEST(an_error_belongs_to_its_thread) {
  NM_REFUSED(nm_engine_query(nullptr, nullptr), NM_ERR_HANDLE, "NULL");
  std::string other = "unset";
  std::thread([&] { other = nmtest::message(); }).join();
  NM_CHECK(other.empty());
  char tiny[5];
  NM_CHECK(nm_last_error(tiny, sizeof tiny) == NM_OK && std::strlen(tiny) == 4);
  NM_CHECK(nm_last_error(nullptr, 5) == NM_ERR_ARGUMENT);
}
