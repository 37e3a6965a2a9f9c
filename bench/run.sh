#!/bin/sh
# run.sh [--quick] [PART OF A NAME]  runs the native benchmarks and those in Java (or those whose name has that part),
# and writes bench/results/bench.json and the same as a table, bench.md. NANOMODEL_THREADS sets the threads. --quick:
# few shapes and short settings, a minute. docs/benchmarks.md says what the columns mean.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
results=$root/bench/results
native=$root/build/native
quick=
[ "${1:-}" != --quick ] || { quick=--quick; shift; }
part=${1:-}
# shellcheck source=bin/setup.sh
. "$root/bin/setup.sh"
find_jdk "$root"
find_compiler "$root"
mkdir -p "$results" "$root/build"

echo "bench: building; log in build/bench.log" >&2
if ! NANOMODEL_SETUP=1 "$root/mvnw" -f "$root/pom.xml" -B -ntp -DskipTests -Dspotless.check.skip=true -pl bench -am package \
  >"$root/build/bench.log" 2>&1 || ! cmake --build "$native" --target nanomodel_roofs linear_bench ops_bench gptq_bench \
  >>"$root/build/bench.log" 2>&1; then
  tail -n 20 "$root/build/bench.log" >&2
  exit 1
fi

threads=${NANOMODEL_THREADS:-$(getconf _NPROCESSORS_ONLN)}
rows=$root/build/bench.rows
: >"$rows"
case $part in
  linear | '')
    if [ -n "$quick" ]; then
      "$native/bin/linear_bench" --threads "$threads" --shape 2048,8192 --weights bf16,i4 --rows 1,16 --file "$rows"
    else
      "$native/bin/linear_bench" --threads "$threads" --file "$rows"
    fi
    ;;
esac
case $part in
  gptq* | '')
    if [ -n "$quick" ]; then
      "$native/bin/gptq_bench" --threads "$threads" --k 1024 --rows 4096 --file "$rows"
    else
      "$native/bin/gptq_bench" --threads "$threads" --file "$rows"
    fi
    ;;
esac
only=$part
[ -z "$quick" ] || [ -n "$only" ] || only=norm
"$native/bin/ops_bench" "$threads" "$only" "$rows"

revision=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
# JMH reads its own fields through Unsafe, about which newer JDKs warn.
version=$("$JAVA_HOME/bin/java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
unsafe=
[ "$version" -lt 23 ] || unsafe=--sun-misc-unsafe-memory-access=allow
# shellcheck disable=SC2086 # either may be nothing
"$JAVA_HOME/bin/java" --enable-native-access=ALL-UNNAMED $unsafe -Dnanomodel.library.path="$native" \
  -jar "$root/bench/target/nanomodel-bench.jar" $quick "$results" "$rows" "$revision" ${part:+"$part"}
