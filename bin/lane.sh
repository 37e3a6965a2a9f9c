#!/bin/sh
# bin/lane.sh LANE [TEST...]   a build of the native tests that finds what the usual one cannot, and a run of it
#   asan     wrong addresses, leaks, undefined behaviour: every native test
#   tsan     data races: the tests of the thread pool, or those named
# A lane builds into build/LANE and ends with the summary of ctest.
set -eu
cd "$(dirname "$0")/.."

lane=${1:-}
[ $# = 0 ] || shift
case $lane in
  asan) sanitize=address,undefined ;;
  tsan)
    sanitize=thread
    [ $# -gt 0 ] || set -- engine_test abi_safety_test
    ;;
  *)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac

jobs=$(getconf _NPROCESSORS_ONLN)
cmake -S . -B "build/$lane" -DNANOMODEL_CUDA=OFF -DNANOMODEL_BENCHMARKS=OFF -DNANOMODEL_SANITIZE=$sanitize >/dev/null
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
# The examples link the library into programs that no sanitizer watches.
ctest --test-dir "build/$lane" --output-on-failure -E '^examples$' ${pattern:+-R "$pattern"}
