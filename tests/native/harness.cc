#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "core/dispatch.h"

namespace nmtest {
namespace {

struct Test {
  const char* name;
  void (*run)();
};

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

const char* running = "";
int failures_of_test = 0;
constexpr int kShown = 5;

void crashed(int signal) {  // async-signal-safe calls only
  const char* parts[] = {"CRASH (signal ",
                         signal == SIGSEGV  ? "SEGV"
                         : signal == SIGBUS ? "BUS"
                                            : "ILL/FPE",
                         ") in ", running, "\n"};
  for (const char* part : parts)
    if (write(2, part, std::strlen(part)) < 0) break;
  _exit(3);
}

}  // namespace

Registration::Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }

void failure(const char* file, int line, const std::string& what) {
  if (++failures_of_test <= kShown) {
    const char* slash = std::strrchr(file, '/');
    std::printf("  %s:%d: %s\n", slash == nullptr ? file : slash + 1, line, what.c_str());
  }
}

std::string text(const char* format, ...) {
  char buffer[600];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

std::string message() {
  char buffer[512];
  nm_last_error(buffer, sizeof buffer);
  return buffer;
}

GuardedBytes::GuardedBytes(size_t bytes, Edge edge) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t inner = std::max<size_t>(1, (bytes + page - 1) / page) * page;
  mapped_ = inner + 2 * page;
  mapping_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char* first = static_cast<char*>(mapping_) + page;
  if (mapping_ == MAP_FAILED || mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) {
    std::perror("guard pages");
    std::abort();
  }
  data_ = edge == Edge::kEnd ? first + (inner - bytes) : first;
}

GuardedBytes::~GuardedBytes() { munmap(mapping_, mapped_); }

uint64_t Random::bits() {  // splitmix64
  uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

float Random::uniform(float low, float high) {
  return low + (high - low) * (static_cast<float>(bits() >> 40) * 0x1p-24f);
}

float Random::normal() {
  float sum = -6;
  for (int i = 0; i < 12; i++) sum += uniform(0, 1);
  return sum;
}

TestEngine::TestEngine(int32_t tier, int32_t threads, int32_t activations) : tier_(tier) {
  nm_engine_options options = args<nm_engine_options>();
  options.activations = activations;
  options.tier = tier;
  options.threads = threads;
  if (nm_engine_create(&options, &engine_) != NM_OK) {
    std::printf("no engine: %s\n", message().c_str());
    std::abort();
  }
}

TestEngine::~TestEngine() { nm_engine_destroy(engine_); }

const char* TestEngine::tier_name() const {
  static thread_local std::string name;
  name = name_of_tier(tier_);
  return name.c_str();
}

std::vector<int32_t> tiers() {
  nm_cpu_info info = args<nm_cpu_info>();
  nm_cpu_query(&info);
  std::vector<int32_t> found;
  for (int32_t t = 0; t < NM_TIER_COUNT; t++)
    if ((info.tiers >> t & 1u) != 0) found.push_back(t);
  return found;
}

std::string name_of_tier(int32_t tier) {
  char name[32] = "?";
  nm_tier_name(tier, name, sizeof name);
  return name;
}

std::vector<int32_t> tiers_but_of_linear() {
  std::vector<int32_t> found;
  for (const int32_t tier : tiers()) {
    const nm::KernelTable& a = nm::kernel_table(tier);
    const bool seen = std::any_of(found.begin(), found.end(), [&](int32_t other) {
      const nm::KernelTable& b = nm::kernel_table(other);
      return a.norm == b.norm && a.rope == b.rope && a.attention == b.attention && a.activation == b.activation &&
             a.sampling == b.sampling && a.convert == b.convert && a.calibrate == b.calibrate && a.gptq == b.gptq;
    });
    if (!seen) found.push_back(tier);
  }
  return found;
}

void on_every_tier(const std::function<void(const TestEngine&)>& fn) {
  for (const int32_t tier : tiers_but_of_linear())
    for (const int32_t threads : {1, 3}) fn(TestEngine(tier, threads));
}

void on_every_linear_tier(const std::function<void(const TestEngine&)>& fn, int32_t activations) {
  for (const int32_t tier : tiers())
    for (const int32_t threads : {1, 3}) fn(TestEngine(tier, threads, activations));
}

void check_close(const char* what, const float* got, const double* want, int64_t count,
                 const std::function<double(int64_t)>& tolerance) {
  int64_t bad = 0, worst = -1;
  double worst_ratio = 0;
  for (int64_t i = 0; i < count; i++) {
    const double g = got[i];
    if (g == want[i] || (std::isnan(g) && std::isnan(want[i]))) continue;
    const double difference = std::fabs(g - want[i]), allowed = tolerance(i);
    if (difference <= allowed) continue;
    bad++;
    const double ratio = std::isfinite(difference / allowed) ? difference / allowed : 1e300;
    if (ratio > worst_ratio) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (bad == 0) return;
  if (worst < 0) worst = 0;
  std::string first;
  for (int64_t i = 0; i < std::min<int64_t>(count, 6); i++)
    first += text(" %g/%g", static_cast<double>(got[i]), want[i]);
  failure(what, 0,
          text("%lld of %lld differ; worst at %lld: got %.9g, want %.9g, allowed %.3g; first got/want:%s",
               static_cast<long long>(bad), static_cast<long long>(count), static_cast<long long>(worst),
               static_cast<double>(got[worst]), want[worst], tolerance(worst), first.c_str()));
}

void check_same_bits(const char* what, const float* got, const float* want, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (std::memcmp(got + i, want + i, sizeof(float)) == 0) continue;
    failure(what, 0,
            text("bits differ at %lld of %lld: got %.9g, want %.9g", static_cast<long long>(i),
                 static_cast<long long>(count), static_cast<double>(got[i]), static_cast<double>(want[i])));
    return;
  }
}

double median_seconds(const std::function<void()>& call, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  auto start = Clock::now();
  call();
  const int inner = std::max(1, static_cast<int>(1e-4 / std::max(elapsed(start), 1e-9)));
  std::vector<double> samples;
  const auto begin = Clock::now();
  while (samples.size() < 5 || elapsed(begin) < seconds) {
    start = Clock::now();
    for (int i = 0; i < inner; i++) call();
    samples.push_back(elapsed(start) / inner);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

/** Runs the tests whose name contains argv[1] (all without it). */
int run_all(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(s, crashed);
  int ran = 0, failed = 0;
  for (const Test& test : tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    running = test.name;
    failures_of_test = 0;
    const auto start = std::chrono::steady_clock::now();
    test.run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (failures_of_test > kShown) std::printf("  ... and %d more\n", failures_of_test - kShown);
    std::printf("%s %s (%.2f s)\n", failures_of_test == 0 ? "ok  " : "FAIL", test.name, seconds);
    ran++;
    failed += failures_of_test != 0;
  }
  std::printf("%d passed, %d failed\n", ran - failed, failed);
  return ran == 0 || failed != 0 ? 1 : 0;
}

}  // namespace nmtest

// Weak: a benchmark links the harness for its engines, timing and random numbers, and has a main of its own.
__attribute__((weak)) int main(int argc, char** argv) { return nmtest::run_all(argc, argv); }
