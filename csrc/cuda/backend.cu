// libnanomodel_cuda: devices, queues and memory, and the table that libnanomodel takes them from. The CUDA runtime is
// linked in statically and finds the driver itself, so the library loads where there is none; then every call says so.
#include "cuda/backend.h"

#include <cstdarg>
#include <cstdio>
#include <new>

#include "cuda/queue.h"

namespace nm::cuda {
namespace {

thread_local char last[320] = "";

const char* last_error() { return last; }

/** Why there is nothing to run on, with the remedy. */
int32_t no_device(cudaError_t error) {
  (void)cudaGetLastError();  // the runtime would report it again with the next call
  int driver = 0;
  (void)cudaDriverGetVersion(&driver);
  if (error == cudaErrorInsufficientDriver && driver == 0)
    return refuse(NM_ERR_DEVICE, "no NVIDIA driver is installed");
  if (error == cudaErrorInsufficientDriver)
    return refuse(NM_ERR_DEVICE, "the NVIDIA driver supports CUDA %d.%d, this backend needs %d.%d: update the driver",
                  driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  if (error == cudaErrorNoDevice) return refuse(NM_ERR_DEVICE, "the NVIDIA driver shows no GPU to this process");
  return check(error, "cudaGetDeviceCount");
}

int32_t device_count(int32_t* count) {
  *count = 0;
  int found = 0;
  const cudaError_t error = cudaGetDeviceCount(&found);
  if (error != cudaSuccess) return no_device(error);
  *count = found;
  return NM_OK;
}

int32_t check_index(int32_t index) {
  int32_t count = 0;
  if (const int32_t status = device_count(&count); status != NM_OK) return status;
  if (index < 0 || index >= count) return refuse(NM_ERR_DEVICE, "index: got %d, expected 0..%d", index, count - 1);
  return NM_OK;
}

int32_t device_query(int32_t index, nm_device_info* info) {
  if (const int32_t status = check_index(index); status != NM_OK) return status;
  cudaDeviceProp properties;
  NM_CUDA_TRY(cudaGetDeviceProperties(&properties, index));
  NM_CUDA_TRY(cudaSetDevice(index));
  size_t free = 0, total = 0;
  NM_CUDA_TRY(cudaMemGetInfo(&free, &total));
  const uint32_t size = info->struct_size;
  *info = nm_device_info{};
  info->struct_size = size;
  info->kind = NM_DEVICE_CUDA;
  info->index = index;
  info->compute_major = properties.major;
  info->compute_minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->memory_total = static_cast<int64_t>(total);
  info->memory_free = static_cast<int64_t>(free);
  std::snprintf(info->name, sizeof info->name, "%.127s", properties.name);
  return NM_OK;
}

int32_t queue_create(int32_t index, nm_cuda_queue** queue) {
  *queue = nullptr;
  if (const int32_t status = check_index(index); status != NM_OK) return status;
  NM_CUDA_TRY(cudaSetDevice(index));
  auto* made = new (std::nothrow) nm_cuda_queue{index, nullptr};
  if (made == nullptr) return refuse(NM_ERR_MEMORY, "out of memory");
  const cudaError_t error = cudaStreamCreateWithFlags(&made->stream, cudaStreamNonBlocking);
  if (error != cudaSuccess) {
    delete made;
    return check(error, "cudaStreamCreateWithFlags");
  }
  *queue = made;
  return NM_OK;
}

int32_t queue_sync(nm_cuda_queue* queue) {
  if (const int32_t status = enter(queue); status != NM_OK) return status;
  NM_CUDA_TRY(cudaStreamSynchronize(queue->stream));
  return NM_OK;
}

int32_t queue_destroy(nm_cuda_queue* queue) {
  if (queue == nullptr) return NM_OK;
  int32_t status = queue_sync(queue);  // a stream that failed is destroyed all the same
  const cudaError_t error = cudaStreamDestroy(queue->stream);
  if (status == NM_OK) status = check(error, "cudaStreamDestroy");
  delete queue;
  return status;
}

int32_t buffer_alloc(nm_cuda_queue* queue, int64_t bytes, void** address) {
  *address = nullptr;
  if (const int32_t status = enter(queue); status != NM_OK) return status;
  const size_t size = bytes > 0 ? static_cast<size_t>(bytes) : 1;
  void* memory = nullptr;
  if (const cudaError_t error = cudaMalloc(&memory, size); error != cudaSuccess) {
    (void)cudaGetLastError();
    return refuse(error == cudaErrorMemoryAllocation ? NM_ERR_MEMORY : NM_ERR_DEVICE,
                  "bytes: %lld do not fit into the memory of device %d: %s", static_cast<long long>(bytes),
                  queue->device, cudaGetErrorString(error));
  }
  if (const cudaError_t error = cudaMemsetAsync(memory, 0, size, queue->stream); error != cudaSuccess) {
    (void)cudaFree(memory);
    return check(error, "cudaMemsetAsync");
  }
  *address = memory;
  return NM_OK;
}

int32_t buffer_free(nm_cuda_queue* queue, void* address) {
  if (const int32_t status = queue_sync(queue); status != NM_OK) return status;
  NM_CUDA_TRY(cudaFree(address));
  return NM_OK;
}

int32_t buffer_copy(nm_cuda_queue* queue, void* to, const void* from, int64_t bytes, int32_t kind) {
  if (const int32_t status = enter(queue); status != NM_OK) return status;
  const cudaMemcpyKind direction = kind == NM_COPY_HOST_TO_DEVICE   ? cudaMemcpyHostToDevice
                                   : kind == NM_COPY_DEVICE_TO_HOST ? cudaMemcpyDeviceToHost
                                                                    : cudaMemcpyDeviceToDevice;
  NM_CUDA_TRY(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), direction, queue->stream));
  // Host memory is borrowed for the call only. From pinned memory the copy would still be running.
  if (kind != NM_COPY_DEVICE_TO_DEVICE) NM_CUDA_TRY(cudaStreamSynchronize(queue->stream));
  return NM_OK;
}

constexpr nm_cuda_backend kBackend = {
    NM_CUDA_BACKEND_VERSION,
    sizeof(nm_cuda_backend),
    last_error,
    device_count,
    device_query,
    queue_create,
    queue_destroy,
    queue_sync,
    buffer_alloc,
    buffer_free,
    buffer_copy,
    rms_norm,
};

}  // namespace

int32_t refuse(int32_t status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last, sizeof last, format, arguments);
  va_end(arguments);
  return status;
}

int32_t check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return NM_OK;
  (void)cudaGetLastError();
  const int32_t status = error == cudaErrorMemoryAllocation         ? NM_ERR_MEMORY
                         : error == cudaErrorNoKernelImageForDevice ? NM_ERR_UNSUPPORTED
                                                                    : NM_ERR_DEVICE;
  return refuse(status, "%s: CUDA error %d: %s", call, static_cast<int>(error), cudaGetErrorString(error));
}

}  // namespace nm::cuda

extern "C" const nm_cuda_backend* nm_cuda_backend_table(void) { return &nm::cuda::kBackend; }
