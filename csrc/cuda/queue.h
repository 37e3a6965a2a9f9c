// Inside libnanomodel_cuda: the queue, and CUDA's errors as status codes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/backend.h"

struct nm_cuda_queue {
  int device;
  cudaStream_t stream;
};

namespace nm::cuda {

/** Keeps printf-formatted text as this thread's last error and returns `status`. */
int32_t refuse(int32_t status, const char* format, ...) __attribute__((format(printf, 2, 3)));

/** NM_OK, or the status that fits `error`, with `call`, CUDA's text and number as the last error. */
int32_t check(cudaError_t error, const char* call);

/** The calling thread works on the queue's device from here on: CUDA's choice of device is per thread. */
inline int32_t enter(const nm_cuda_queue* queue) { return check(cudaSetDevice(queue->device), "cudaSetDevice"); }

int32_t rms_norm(nm_cuda_queue* queue, const nm_norm_args* args);

}  // namespace nm::cuda

/** Leaves the function with the status of a CUDA call that failed. */
#define NM_CUDA_TRY(call)                                                                           \
  do {                                                                                              \
    if (const int32_t status_ = ::nm::cuda::check((call), #call); status_ != NM_OK) return status_; \
  } while (0)
