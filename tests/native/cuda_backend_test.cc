// The GPU backend: absent without complaint, and right where there is a GPU.
#include "core/cuda_backend.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "harness.h"

using nmtest::args;

namespace {

#define NM_BACKEND_FILE NM_LIBRARY_DIR "/libnanomodel_cuda.so"

bool readable(const char* file) { return access(file, R_OK) == 0; }

/** A function of the shared library as a user loads it: it finds the backend beside its own file. */
template <class F>
F in_library(const char* function) {
  void* library = dlopen(NM_LIBRARY_DIR "/libnanomodel.so", RTLD_NOW | RTLD_LOCAL);
  void* symbol = library != nullptr ? dlsym(library, function) : nullptr;
  NM_CHECK_MSG(symbol != nullptr, "%s: %s", function, library != nullptr ? "missing" : dlerror());
  return reinterpret_cast<F>(symbol);
}

/** What fn writes to standard output and error, byte by byte. */
template <class F>
std::string printed_by(F&& fn) {
  std::fflush(nullptr);
  std::FILE* file = std::tmpfile();
  const int out = dup(1), err = dup(2);
  dup2(fileno(file), 1);
  dup2(fileno(file), 2);
  fn();
  std::fflush(nullptr);
  dup2(out, 1);
  dup2(err, 2);
  close(out);
  close(err);
  std::rewind(file);
  char text[1000];
  const size_t n = std::fread(text, 1, sizeof text, file);
  std::fclose(file);
  return std::string(text, n);
}

/** The backend's table if it was built and has a device, else nullptr and one line. */
const nm_cuda_backend* usable_backend() {
  if (!readable(NM_BACKEND_FILE)) {
    std::printf("  not run: this build has no GPU backend\n");
    return nullptr;
  }
  const nm::CudaBackend backend = nm::open_cuda_backend(NM_BACKEND_FILE);
  NM_CHECK_MSG(backend.table != nullptr, "%s", backend.reason);
  if (backend.table == nullptr) return nullptr;
  int32_t count = -1;
  if (backend.table->device_count(&count) == NM_OK && count > 0) return backend.table;
  std::printf("  not run: %s\n", backend.table->last_error());
  return nullptr;
}

#define BACKEND_OK(call) NM_CHECK_MSG((call) == NM_OK, "%s: %s", #call, gpu->last_error())

/** Device memory with a copy of host values, freed with its scope. */
class DeviceFloats {
 public:
  DeviceFloats(const nm_cuda_backend* backend, nm_cuda_queue* queue, const std::vector<float>& values)
      : gpu(backend), queue_(queue), bytes_(static_cast<int64_t>(values.size() * sizeof(float))) {
    BACKEND_OK(gpu->buffer_alloc(queue_, bytes_, &address_));
    BACKEND_OK(gpu->buffer_copy(queue_, address_, values.data(), bytes_, NM_COPY_HOST_TO_DEVICE));
  }
  ~DeviceFloats() { BACKEND_OK(gpu->buffer_free(queue_, address_)); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;
  float* data() const { return static_cast<float*>(address_); }
  std::vector<float> read() const {
    std::vector<float> values(static_cast<size_t>(bytes_) / sizeof(float));
    BACKEND_OK(gpu->buffer_copy(queue_, values.data(), address_, bytes_, NM_COPY_DEVICE_TO_HOST));
    return values;
  }

 private:
  const nm_cuda_backend* gpu;
  nm_cuda_queue* queue_;
  int64_t bytes_;
  void* address_ = nullptr;
};

std::vector<float> random_floats(int64_t count, uint64_t seed) {
  nmtest::Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = random.normal();
  return values;
}

struct NormCase {
  int64_t rows, groups, cols, gap;  // gap: elements between the rows that belong to nobody
  bool in_place, weighted;
};

/** y by a plain loop in float64; what lies between rows stays as it was. */
std::vector<double> plain_rms_norm(const NormCase& c, float eps, const std::vector<float>& x,
                                   const std::vector<float>& weight, const std::vector<float>& y_before) {
  std::vector<double> y(y_before.begin(), y_before.end());
  for (int64_t r = 0; r < c.rows; r++)
    for (int64_t g = 0; g < c.groups; g++) {
      const int64_t at = r * (c.groups * c.cols + c.gap) + g * c.cols;
      double squares = 0;
      for (int64_t i = 0; i < c.cols; i++) squares += std::pow(static_cast<double>(x[static_cast<size_t>(at + i)]), 2);
      const double norm = std::sqrt(squares / static_cast<double>(c.cols) + static_cast<double>(eps));
      for (int64_t i = 0; i < c.cols; i++)
        y[static_cast<size_t>(at + i)] = static_cast<double>(x[static_cast<size_t>(at + i)]) / norm *
                                         (c.weighted ? static_cast<double>(weight[static_cast<size_t>(i)]) : 1.0);
    }
  return y;
}

void check_rms_norm(const nm_cuda_backend* gpu, nm_cuda_queue* queue, const NormCase& c) {
  const int64_t stride = c.groups * c.cols + c.gap;
  const std::vector<float> x = random_floats(c.rows * stride, 1), weight = random_floats(c.cols, 2),
                           before = c.in_place ? x : random_floats(c.rows * stride, 3);
  const DeviceFloats device_x(gpu, queue, x), device_weight(gpu, queue, weight), device_y(gpu, queue, before);
  nm_norm_args a = args<nm_norm_args>();
  a.eps = 1e-5f;
  a.rows = c.rows;
  a.groups = c.groups;
  a.cols = c.cols;
  a.x = c.in_place ? device_y.data() : device_x.data();
  a.y = device_y.data();
  a.x_stride = a.y_stride = stride;
  a.weight = c.weighted ? device_weight.data() : nullptr;
  BACKEND_OK(gpu->rms_norm(queue, &a));
  const std::vector<float> got = device_y.read();
  const std::vector<double> want = plain_rms_norm(c, a.eps, x, weight, before);
  // Roundings on the longest way: a lane's own sum (at least a warp shares a row), two trees of 5, then mean, eps,
  // root, quotient and two products. All terms of the sum are positive.
  const double roundings = std::ceil(static_cast<double>(c.cols) / 32) + 10 + 6;
  const std::string what = nmtest::text("rms_norm [%d,%d,%d]", static_cast<int>(c.rows), static_cast<int>(c.groups),
                                        static_cast<int>(c.cols));
  nmtest::check_close(what.c_str(), got.data(), want.data(), c.rows * stride, [&](int64_t i) {
    const bool between = i % stride >= c.groups * c.cols;
    return between ? 0.0 : std::fabs(want[static_cast<size_t>(i)]) * nmtest::gamma(roundings);
  });
  if (c.in_place) return;
  BACKEND_OK(gpu->rms_norm(queue, &a));
  nmtest::check_same_bits("a second run", device_y.read().data(), got.data(), c.rows * stride);
}

}  // namespace

NM_TEST(a_missing_file_gives_a_reason_that_names_it) {
  const nm::CudaBackend backend = nm::open_cuda_backend("/nowhere/libnanomodel_cuda.so");
  NM_CHECK(backend.table == nullptr);
  NM_CHECK_MSG(std::strstr(backend.reason, "/nowhere/libnanomodel_cuda.so") != nullptr, "%s", backend.reason);
}

NM_TEST(a_library_that_is_no_backend_is_refused) {
  const nm::CudaBackend backend = nm::open_cuda_backend(NM_LIBRARY_DIR "/libnanomodel.so");
  NM_CHECK(backend.table == nullptr);
  NM_CHECK_MSG(std::strstr(backend.reason, "not a backend") != nullptr, "%s", backend.reason);
}

NM_TEST(counting_devices_never_fails_never_prints_and_says_what_is_missing) {
  const auto device_count = in_library<decltype(&nm_device_count)>("nm_device_count");
  const auto device_query = in_library<decltype(&nm_device_query)>("nm_device_query");
  const auto last_error = in_library<decltype(&nm_last_error)>("nm_last_error");
  if (device_count == nullptr || device_query == nullptr || last_error == nullptr) return;
  int32_t count = -1, status = 1, queried = 1;
  char why[512] = "", error[512] = "";
  nm_device_info info = args<nm_device_info>();
  const std::string printed = printed_by([&] {
    status = device_count(NM_DEVICE_CUDA, &count, why, sizeof why);
    queried = device_query(NM_DEVICE_CUDA, count, &info);  // one past the last
    last_error(error, sizeof error);
  });
  NM_CHECK_MSG(printed.empty(), "printed: %s", printed.c_str());
  NM_CHECK(status == NM_OK);
  NM_CHECK_MSG(queried == NM_ERR_DEVICE && error[0] != '\0', "%d %s", queried, error);
  NM_CHECK_MSG((count > 0) == (why[0] == '\0'), "%d devices, why: %s", count, why);
  std::printf("  %d devices %s\n", count, why);
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const char* expected = !readable(NM_BACKEND_FILE) ? "libnanomodel_cuda" : driver == nullptr ? "no NVIDIA driver" : "";
  NM_CHECK_MSG(std::strstr(why, expected) != nullptr, "why: '%s', expected '%s'", why, expected);
}

NM_TEST(threads_that_ask_at_once_get_the_same_answer) {
  const auto device_count = in_library<decltype(&nm_device_count)>("nm_device_count");
  if (device_count == nullptr) return;
  constexpr size_t kThreads = 8;
  int32_t counts[kThreads];
  char whys[kThreads][512];
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; t++)
    threads.emplace_back([&, t] { device_count(NM_DEVICE_CUDA, &counts[t], whys[t], sizeof whys[t]); });
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 1; t < kThreads; t++) {
    NM_CHECK(counts[t] == counts[0]);
    NM_CHECK_MSG(std::strcmp(whys[t], whys[0]) == 0, "'%s' and '%s'", whys[t], whys[0]);
  }
}

NM_TEST(on_a_gpu_devices_describe_themselves) {
  const nm_cuda_backend* gpu = usable_backend();
  if (gpu == nullptr) return;
  int32_t count = 0;
  BACKEND_OK(gpu->device_count(&count));
  for (int32_t i = 0; i < count; i++) {
    nm_device_info info = args<nm_device_info>();
    BACKEND_OK(gpu->device_query(i, &info));
    NM_CHECK(info.struct_size == sizeof info && info.kind == NM_DEVICE_CUDA && info.index == i);
    NM_CHECK(info.compute_major >= 5 && info.multiprocessors > 0 && info.name[0] != '\0');
    NM_CHECK(0 < info.memory_free && info.memory_free <= info.memory_total);
    std::printf("  %d: %s, compute capability %d.%d\n", i, info.name, info.compute_major, info.compute_minor);
  }
}

NM_TEST(on_a_gpu_buffers_are_zeroed_and_too_large_ones_refused) {
  const nm_cuda_backend* gpu = usable_backend();
  if (gpu == nullptr) return;
  nm_cuda_queue* queue = nullptr;
  BACKEND_OK(gpu->queue_create(0, &queue));
  for (int round = 0; round < 3; round++) {  // later rounds find memory that the one before has written
    const std::vector<float> ones(100003, 1.0f);
    void* address = nullptr;
    const auto bytes = static_cast<int64_t>(ones.size() * sizeof(float));
    BACKEND_OK(gpu->buffer_alloc(queue, bytes, &address));
    NM_CHECK(reinterpret_cast<uintptr_t>(address) % 64 == 0);
    std::vector<float> read(ones.size(), -1.0f);
    BACKEND_OK(gpu->buffer_copy(queue, read.data(), address, bytes, NM_COPY_DEVICE_TO_HOST));
    NM_CHECK(read == std::vector<float>(ones.size(), 0.0f));
    BACKEND_OK(gpu->buffer_copy(queue, address, ones.data(), bytes, NM_COPY_HOST_TO_DEVICE));
    BACKEND_OK(gpu->buffer_free(queue, address));
  }
  void* address = nullptr;
  NM_CHECK(gpu->buffer_alloc(queue, int64_t{1} << 45, &address) == NM_ERR_MEMORY);
  NM_CHECK_MSG(std::strstr(gpu->last_error(), "bytes") != nullptr, "%s", gpu->last_error());
  BACKEND_OK(gpu->queue_sync(queue));  // the failure is not reported a second time
  BACKEND_OK(gpu->queue_destroy(queue));
}

NM_TEST(on_a_gpu_rms_norm_is_that_of_a_plain_loop) {
  const nm_cuda_backend* gpu = usable_backend();
  if (gpu == nullptr) return;
  nm_cuda_queue* queue = nullptr;
  BACKEND_OK(gpu->queue_create(0, &queue));
  for (const int64_t cols : {1, 7, 31, 32, 33, 128, 255, 256, 257, 511, 1024, 4096, 8191})
    for (const int64_t groups : {1, 3})
      for (const bool in_place : {false, true})
        check_rms_norm(gpu, queue, {5, groups, cols, cols % 5, in_place, cols % 2 == 0});
  check_rms_norm(gpu, queue, {2'000'000, 1, 3, 1, false, true});  // more rows than blocks
  BACKEND_OK(gpu->queue_destroy(queue));
}
