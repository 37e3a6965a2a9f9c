# libnanomodel_cuda: the GPU backend, from csrc/cuda/*.cu, beside the library that opens it at run time.
# Skipped, with one line, where there is no nvcc.
string(TOUPPER "${NANOMODEL_CUDA}" cuda_switch)
file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu csrc/cuda/*.cc csrc/cuda/*/*.cu)
set(cuda_library ${CMAKE_BINARY_DIR}/${CMAKE_SHARED_LIBRARY_PREFIX}nanomodel_cuda${CMAKE_SHARED_LIBRARY_SUFFIX})
if(cuda_switch STREQUAL "OFF" OR NOT cuda_sources)
  file(REMOVE ${cuda_library}) # of an earlier build: it would be opened
  return()
endif()

include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER) # looked for anew each time: a toolkit may have come since
  find_program(nvcc nvcc PATHS ENV CUDA_HOME ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
  if(nvcc OR DEFINED ENV{CUDACXX})
    if(NOT DEFINED ENV{CUDACXX})
      set(ENV{CUDACXX} ${nvcc})
    endif()
    unset(CMAKE_CUDA_COMPILER CACHE)
    check_language(CUDA)
  endif()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  if(cuda_switch STREQUAL "ON")
    message(FATAL_ERROR "NANOMODEL_CUDA=ON, but no working nvcc was found; put it on the PATH or set CUDACXX")
  endif()
  message(STATUS "CUDA: no nvcc, the GPU backend is not built")
  file(REMOVE ${cuda_library})
  return()
endif()

# sm_80 code runs on 8.x, its PTX is translated on later GPUs; 90a has Hopper's own instructions.
if(NANOMODEL_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${NANOMODEL_CUDA_ARCHITECTURES})
else()
  set(CMAKE_CUDA_ARCHITECTURES 80 90a)
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
enable_language(CUDA)

add_library(nanomodel_cuda SHARED ${cuda_sources})
target_include_directories(nanomodel_cuda PRIVATE csrc/include csrc)
set_target_properties(nanomodel_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
target_compile_options(nanomodel_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -fno-math-errno>
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xcompiler=-Wall>
  $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${werror}>>:-Werror=all-warnings>)
nanomodel_shared_library(nanomodel_cuda)
