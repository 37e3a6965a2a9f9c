#!/bin/sh
# run.sh [--quick] [PART OF A NAME]  runs the native benchmarks and those in Java (or those whose name has that part),
# and writes to bench/results: native.txt, jmh.md (a table with shares of limits), limits.json, jmh.json (JMH's own
# format). NANOMODEL_THREADS sets the threads. --quick: short settings. docs/benchmarks.md says what the columns mean.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
results=$root/bench/results
native=$root/build/native
quick=
[ "${1:-}" != --quick ] || { quick=--quick; shift; }
# shellcheck source=bin/setup.sh
. "$root/bin/setup.sh"
find_jdk "$root"
find_compiler "$root"
mkdir -p "$results" "$root/build"

echo "bench: building; log in build/bench.log" >&2
if ! NANOMODEL_SETUP=1 "$root/mvnw" -f "$root/pom.xml" -B -ntp -DskipTests -Dspotless.check.skip=true -pl bench -am package \
  >"$root/build/bench.log" 2>&1 || ! cmake --build "$native" --target nanomodel_roofs linear_bench ops_bench \
  >>"$root/build/bench.log" 2>&1; then
  tail -n 20 "$root/build/bench.log" >&2
  exit 1
fi

threads=${NANOMODEL_THREADS:-$(getconf _NPROCESSORS_ONLN)}
if [ -n "$quick" ]; then
  "$native/bin/linear_bench" --threads "$threads" --shape 2048,8192 --weights bf16,i4 --rows 1,16 >"$results/native.txt"
  timeout 40 "$native/bin/ops_bench" "$threads" norm >>"$results/native.txt" || :
else
  "$native/bin/linear_bench" --threads "$threads" >"$results/native.txt"
  "$native/bin/ops_bench" "$threads" >>"$results/native.txt"
fi

# JMH reads its own fields through Unsafe, about which newer JDKs warn.
version=$("$JAVA_HOME/bin/java" -version 2>&1 | sed -n '1s/.*"\([0-9]*\).*/\1/p')
unsafe=
[ "$version" -lt 23 ] || unsafe=--sun-misc-unsafe-memory-access=allow
# shellcheck disable=SC2086 # either may be nothing
"$JAVA_HOME/bin/java" --enable-native-access=ALL-UNNAMED $unsafe -Dnanomodel.library.path="$native" \
  -jar "$root/bench/target/nanomodel-bench.jar" $quick "$results" ${1:+"$1"}
