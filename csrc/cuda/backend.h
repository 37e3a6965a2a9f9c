/*
 * Between libnanomodel and libnanomodel_cuda: the table of functions that the GPU backend hands over when it is opened.
 * Internal; the two are built together, and a backend of another version or size is refused. Functions return an
 * nm_status; after a failure last_error() has the reason, per thread. Arguments were checked by the C boundary already.
 */
#ifndef NANOMODEL_CUDA_BACKEND_H
#define NANOMODEL_CUDA_BACKEND_H

#include <stdint.h>

#include "nanomodel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NM_CUDA_BACKEND_VERSION 1

/* One device and one stream on it: calls are carried out in the order they came in. */
typedef struct nm_cuda_queue nm_cuda_queue;

typedef struct nm_cuda_backend {
  int32_t version;      /* NM_CUDA_BACKEND_VERSION */
  uint32_t struct_size; /* sizeof(nm_cuda_backend) */

  const char *(*last_error)(void); /* "" when there was none */

  /* NM_ERR_DEVICE and a reason when there is no driver, none that is new enough, or no GPU. */
  int32_t (*device_count)(int32_t *count);
  int32_t (*device_query)(int32_t index, nm_device_info *info);

  int32_t (*queue_create)(int32_t index, nm_cuda_queue **queue);
  int32_t (*queue_destroy)(nm_cuda_queue *queue); /* waits */
  int32_t (*queue_sync)(nm_cuda_queue *queue);

  int32_t (*buffer_alloc)(nm_cuda_queue *queue, int64_t bytes, void **address); /* zeroed */
  int32_t (*buffer_free)(nm_cuda_queue *queue, void *address);
  int32_t (*buffer_copy)(nm_cuda_queue *queue, void *to, const void *from, int64_t bytes,
                         int32_t kind); /* nm_copy_kind; waits where host memory is involved */

  /* Ops enqueue and return; addresses are device memory. `cancel` is not looked at: a kernel once enqueued runs. */
  int32_t (*rms_norm)(nm_cuda_queue *queue, const nm_norm_args *args);
} nm_cuda_backend;

/* The only function that libnanomodel_cuda exports. Needs no driver. */
NM_API const nm_cuda_backend *nm_cuda_backend_table(void);

#ifdef __cplusplus
}
#endif

#endif /* NANOMODEL_CUDA_BACKEND_H */
