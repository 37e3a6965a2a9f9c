# Every tests/native/*_test.cc is one executable and one ctest; every bench/native/*_bench.cc is one executable.
# Both link the library's objects, so that they reach what the shared library hides, and tests/native/harness*.cc.
enable_testing()
if(NOT sources)
  return()
endif()

file(GLOB harness CONFIGURE_DEPENDS tests/native/harness*.cc)
if(harness)
  add_library(nanomodel_harness OBJECT ${harness})
  target_link_libraries(nanomodel_harness PUBLIC nanomodel_flags)
endif()

function(nanomodel_executable name source)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE nanomodel_objects $<$<TARGET_EXISTS:nanomodel_harness>:nanomodel_harness>)
  target_include_directories(${name} PRIVATE tests/native)
  target_compile_definitions(${name} PRIVATE NM_SOURCE_DIR="${CMAKE_SOURCE_DIR}" NM_LIBRARY_DIR="${CMAKE_BINARY_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

if(NANOMODEL_TESTS)
  set(timeout 600)
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(timeout 1800)
  endif()
  file(GLOB tests CONFIGURE_DEPENDS tests/native/*_test.cc)
  foreach(source IN LISTS tests)
    get_filename_component(name ${source} NAME_WE)
    nanomodel_executable(${name} ${source})
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout})
  endforeach()
  # The long ones first: ctest -j then ends with all processors at work.
  foreach(name linear_test attention_test calibrate_gptq_test eora_test sampling_test)
    if(TARGET ${name})
      set_tests_properties(${name} PROPERTIES COST 100)
    endif()
  endforeach()

  # Installed into a temporary prefix, then used from C, C++, Python and Rust, as far as the machine has them.
  if(UNIX)
    add_test(NAME examples COMMAND sh ${CMAKE_SOURCE_DIR}/examples/native/run.sh ${CMAKE_BINARY_DIR})
  endif()

  # The header is C99, alone, for callers from other languages.
  file(CONFIGURE OUTPUT header_is_c99.c CONTENT "#include \"nanomodel.h\"\n\ntypedef int32_t nothing_else;\n")
  add_library(header_is_c99 OBJECT ${CMAKE_BINARY_DIR}/header_is_c99.c)
  target_include_directories(header_is_c99 PRIVATE csrc/include)
  target_compile_options(header_is_c99 PRIVATE -Wall -Wextra -pedantic-errors -Wstrict-prototypes -Werror)

  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_NM)
    set(built $<TARGET_FILE:nanomodel>)
    if(TARGET nanomodel_cuda)
      list(APPEND built $<TARGET_FILE:nanomodel_cuda>)
    endif()
    add_test(NAME exports COMMAND sh ${CMAKE_SOURCE_DIR}/cmake/check-exports.sh ${CMAKE_NM} ${CMAKE_READELF}
                                  ${CMAKE_SOURCE_DIR}/csrc/include/nanomodel.h ${built})
  endif()
endif()

if(NANOMODEL_BENCHMARKS)
  file(GLOB benchmarks CONFIGURE_DEPENDS bench/native/*_bench.cc)
  foreach(source IN LISTS benchmarks)
    get_filename_component(name ${source} NAME_WE)
    nanomodel_executable(${name} ${source})
  endforeach()

  # What the benchmarks in Java open beside the library.
  add_library(nanomodel_roofs SHARED bench/native/roofs.cc)
  target_link_libraries(nanomodel_roofs PRIVATE nanomodel_objects)
  set_target_properties(nanomodel_roofs PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endif()
