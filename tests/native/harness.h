// The native tests' own small harness: registration, guard pages, engines per tier, readable failures. A test says in
// its name what it proves; a failing one prints what it compared.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "nanomodel.h"

namespace nmtest {

// ---------- registration ----------

struct Registration {
  Registration(const char* name, void (*run)());
};

/** NM_TEST(what_it_proves) { ... } */
#define NM_TEST(name)                                          \
  static void name();                                          \
  static const nmtest::Registration name##_entry(#name, name); \
  static void name()

/** Records a failure of the running test and goes on. */
void failure(const char* file, int line, const std::string& what);

#define NM_CHECK(condition)                                                         \
  do {                                                                              \
    if (!(condition)) nmtest::failure(__FILE__, __LINE__, "not true: " #condition); \
  } while (0)

/** The same with words of the case, printf style. */
#define NM_CHECK_MSG(condition, ...)                                                  \
  do {                                                                                \
    if (!(condition)) nmtest::failure(__FILE__, __LINE__, nmtest::text(__VA_ARGS__)); \
  } while (0)

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

/** The call returned NM_OK; otherwise the library's message is the failure. */
#define NM_OK_CALL(call)                                                                                              \
  do {                                                                                                                \
    const int32_t status_ = (call);                                                                                   \
    if (status_ != NM_OK)                                                                                             \
      nmtest::failure(__FILE__, __LINE__, nmtest::text("%s gave %d: %s", #call, status_, nmtest::message().c_str())); \
  } while (0)

/** The call returned `status` and its message contains `fragment`. */
#define NM_REFUSED(call, status, fragment)                                                                  \
  do {                                                                                                      \
    const int32_t got_ = (call);                                                                            \
    const std::string message_ = nmtest::message();                                                         \
    if (got_ != (status) || message_.find(fragment) == std::string::npos)                                   \
      nmtest::failure(__FILE__, __LINE__,                                                                   \
                      nmtest::text("%s gave %d (%s), expected %d with '%s'", #call, got_, message_.c_str(), \
                                   static_cast<int>(status), fragment));                                    \
  } while (0)

/** nm_last_error of this thread. */
std::string message();

// ---------- memory between unmapped pages ----------

enum class Edge { kEnd, kStart };

/** Raw bytes whose end (or start) touches an unmapped page: one element too far is a crash with the test's name. */
class GuardedBytes {
 public:
  GuardedBytes(size_t bytes, Edge edge);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  void* data() const { return data_; }

 private:
  void* mapping_;
  size_t mapped_;
  void* data_;
};

/** count elements of T between unmapped pages; zeroed. */
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t count, Edge edge = Edge::kEnd)
      : bytes_(static_cast<size_t>(count) * sizeof(T), edge), count_(count) {}
  T* data() const { return static_cast<T*>(bytes_.data()); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) const { return data()[i]; }
  T* begin() const { return data(); }
  T* end() const { return data() + count_; }

 private:
  GuardedBytes bytes_;
  int64_t count_;
};

// ---------- random numbers, the same on every machine ----------

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 0x1234567ull) {}
  uint64_t bits();
  /** 0 <= x < n */
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  float uniform(float low, float high);
  /** Sum of twelve uniforms: near enough to a normal of standard deviation 1. */
  float normal();

 private:
  uint64_t state_;
};

// ---------- engines ----------

/** An engine that ends with its scope. */
class TestEngine {
 public:
  TestEngine(int32_t tier, int32_t threads, int32_t activations = NM_ACTIVATIONS_AUTO);
  ~TestEngine();
  TestEngine(const TestEngine&) = delete;
  TestEngine& operator=(const TestEngine&) = delete;
  operator nm_engine*() const { return engine_; }
  int32_t tier() const { return tier_; }
  const char* tier_name() const;

 private:
  nm_engine* engine_ = nullptr;
  int32_t tier_;
};

/** Tiers that this machine runs; all of them are tested, whatever the best is. */
std::vector<int32_t> tiers();
std::string name_of_tier(int32_t tier);

/** Those without the ones whose kernels are an earlier one's in every family but linear. */
std::vector<int32_t> tiers_but_of_linear();

/** fn(engine) on every tier of tiers_but_of_linear(), with 1 and with 3 threads. */
void on_every_tier(const std::function<void(const TestEngine&)>& fn);

/** The same on all of tiers(). */
void on_every_linear_tier(const std::function<void(const TestEngine&)>& fn, int32_t activations = NM_ACTIVATIONS_AUTO);

template <class T>
T args() {
  T a = {};
  a.struct_size = sizeof(T);
  return a;
}

// ---------- comparing ----------

/**
 * |got - want| <= tolerance for all, else one failure that shows where and how much. tolerance(i) is derived from the
 * inputs: see gamma().
 */
void check_close(const char* what, const float* got, const double* want, int64_t count,
                 const std::function<double(int64_t)>& tolerance);

/** Equal bit for bit. */
void check_same_bits(const char* what, const float* got, const float* want, int64_t count);

/** Bound on the relative error of n float32 roundings in a row (Higham 2002, lemma 3.1): n u / (1 - n u). */
inline double gamma(double n) {
  const double u = std::ldexp(1.0, -24);
  return n * u / (1 - n * u);
}

// ---------- timing ----------

/** Median seconds of one call, over at least `seconds` and 5 samples. */
double median_seconds(const std::function<void()>& call, double seconds = 0.2);

}  // namespace nmtest
