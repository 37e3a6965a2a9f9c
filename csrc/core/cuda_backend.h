// libnanomodel_cuda, opened when it is first asked for. libnanomodel has no link dependency on CUDA: without the file,
// a driver or a GPU there are simply no devices, and a reason that can be shown.
#pragma once

#include <cstdint>

#include "cuda/backend.h"
#include "nanomodel.h"

namespace nm {

struct CudaBackend {
  const nm_cuda_backend* table;  // nullptr: not usable, see reason
  char reason[512];              // "" when table is set
};

/** Opens the backend in this file; a plain name is searched for as the loader does. Never closed again. */
CudaBackend open_cuda_backend(const char* file);

/** The backend beside this library's own file, or else by plain name. Opened once; the same for all threads. */
const CudaBackend& cuda_backend();

/** Number of usable GPUs; 0 with *reason set (valid until the thread's next call) when there is none. */
int32_t cuda_device_count(const char** reason);

/** Fills info; throws Error(NM_ERR_DEVICE) when there is no such device. info.struct_size was checked. */
void cuda_device_query(int32_t index, nm_device_info& info);

}  // namespace nm
