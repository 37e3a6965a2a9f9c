#!/bin/sh
# bin/lane.sh LANE [TEST...]   a build of the native tests that finds what the usual one cannot, and a run of it
#   asan     wrong addresses, leaks, undefined behaviour: every native test
#   tsan     data races: the tests of the thread pool, or those named
#   emulate  kernels for CPUs that this one is not: every tier in plain C++ (SIMDE), every native test
#   neon     the library for 64-bit Arm, cross-compiled, under QEMU: as a CPU with every tier, and as one without the last
# A lane builds into build/LANE and ends with the summary of ctest.
set -eu
cd "$(dirname "$0")/.."

lane=${1:-}
[ $# = 0 ] || shift
case $lane in
  asan) option=-DNANOMODEL_SANITIZE=address,undefined ;;
  tsan)
    option=-DNANOMODEL_SANITIZE=thread
    [ $# -gt 0 ] || set -- engine_test abi_safety_test
    ;;
  emulate)
    option=-DNANOMODEL_EMULATE=ON
    if ! echo '#include <simde/x86/avx512.h>' | ${CXX:-c++} -x c++ -fsyntax-only - 2>/dev/null; then
      echo "lane.sh emulate: SIMDE is missing: apt-get install libsimde-dev" >&2
      exit 3
    fi
    ;;
  neon)
    option=-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux.cmake
    for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
      if ! command -v $tool >/dev/null; then
        echo "lane.sh neon: $tool is missing: apt-get install g++-aarch64-linux-gnu qemu-user" >&2
        exit 3
      fi
    done
    ;;
  *)
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
    ;;
esac

jobs=$(getconf _NPROCESSORS_ONLN)
cmake -S . -B "build/$lane" -DNANOMODEL_CUDA=OFF -DNANOMODEL_BENCHMARKS=OFF $option >/dev/null
if [ $# -gt 0 ]; then
  cmake --build "build/$lane" -j "$jobs" --target "$@"
else
  cmake --build "build/$lane" -j "$jobs"
fi
# SEGV goes to the harness, which names the test; it allocates terabytes on purpose and expects a refusal.
export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
pattern=
for test in "$@"; do pattern="$pattern${pattern:+|}^$test\$"; done
run() {
  # The examples link the library into programs that no lane changes.
  ctest --test-dir "build/$lane" --output-on-failure -j "$jobs" -E '^examples$' ${pattern:+-R "$pattern"}
}
if [ "$lane" = neon ]; then
  for cpu in max cortex-a76; do
    echo "== $cpu"
    QEMU_CPU=$cpu run
  done
else
  run
fi
