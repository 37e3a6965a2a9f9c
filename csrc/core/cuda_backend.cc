#include "core/cuda_backend.h"

#include <dlfcn.h>

#include <cstdio>
#include <string>

#include "core/status.h"

namespace nm {
namespace {

#ifdef __APPLE__
constexpr const char* kFile = "libnanomodel_cuda.dylib";
#else
constexpr const char* kFile = "libnanomodel_cuda.so";
#endif

bool exists(const std::string& file) {
  std::FILE* f = std::fopen(file.c_str(), "rb");
  if (f != nullptr) std::fclose(f);
  return f != nullptr;
}

/** Where the code that you read lies, with a slash at the end; "" when the loader does not know. */
std::string own_directory() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&open_cuda_backend), &info) == 0) return "";
  if (info.dli_fname == nullptr) return "";
  const std::string file = info.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

CudaBackend find_cuda_backend() {
  const std::string directory = own_directory();
  if (!directory.empty() && exists(directory + kFile)) return open_cuda_backend((directory + kFile).c_str());
  CudaBackend backend = open_cuda_backend(kFile);
  if (backend.table == nullptr) {
    const std::string reason = backend.reason;
    std::snprintf(backend.reason, sizeof backend.reason, "%s is not in %s; %s", kFile,
                  directory.empty() ? "libnanomodel's directory" : directory.c_str(), reason.c_str());
  }
  return backend;
}

}  // namespace

CudaBackend open_cuda_backend(const char* file) {
  CudaBackend backend{nullptr, ""};
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = dlerror();
    std::snprintf(backend.reason, sizeof backend.reason, "cannot open %s: %s", file,
                  error != nullptr ? error : "unknown reason");
    return backend;
  }
  using Table = const nm_cuda_backend* (*)();
  const auto table = reinterpret_cast<Table>(dlsym(library, "nm_cuda_backend_table"));
  const nm_cuda_backend* found = table != nullptr ? table() : nullptr;
  if (found == nullptr) {
    std::snprintf(backend.reason, sizeof backend.reason, "%s is not a backend of libnanomodel", file);
  } else if (found->version != NM_CUDA_BACKEND_VERSION || found->struct_size != sizeof *found) {
    std::snprintf(backend.reason, sizeof backend.reason,
                  "%s: backend version %d (%u bytes), expected %d (%zu): use the one built with this "
                  "libnanomodel",
                  file, found->version, found->struct_size, NM_CUDA_BACKEND_VERSION, sizeof *found);
  } else {
    backend.table = found;
  }
  return backend;
}

const CudaBackend& cuda_backend() {
  static const CudaBackend backend = find_cuda_backend();
  return backend;
}

int32_t cuda_device_count(const char** reason) {
  const CudaBackend& backend = cuda_backend();
  *reason = backend.reason;
  if (backend.table == nullptr) return 0;
  int32_t count = 0;
  if (backend.table->device_count(&count) != NM_OK) {
    *reason = backend.table->last_error();
    return 0;
  }
  return count;
}

void cuda_device_query(int32_t index, nm_device_info& info) {
  const CudaBackend& backend = cuda_backend();
  if (backend.table == nullptr) fail(NM_ERR_DEVICE, "index: got %d: %s", index, backend.reason);
  const int32_t status = backend.table->device_query(index, &info);
  if (status != NM_OK) fail(status, "%s", backend.table->last_error());
}

}  // namespace nm
