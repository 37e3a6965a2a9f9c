#!/bin/sh
# bench/peers/run.sh [PART]   measures this engine and the peers that bench/peers/get.sh got, in turns, and writes
# bench/results/cpu-DATE.json and the tables of docs/performance.md. PART: only the cases whose name has it, such as
# "m512 t1" or "random-llama t2"; what the file has of other cases stays. docs/benchmarks.md says more.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd -P)
# shellcheck source=bin/setup.sh
. "$root/bin/setup.sh"
find_jdk "$root"
find_compiler "$root"
"$root/nanomodel" --version >/dev/null # builds what is missing
cmake --build "$root/build/native" --target nanomodel_roofs >/dev/null
mkdir -p "$root/build/peers"
revision=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
exec "$JAVA_HOME/bin/java" --enable-native-access=ALL-UNNAMED -Dnanomodel.library.path="$root/build/native" \
  -cp "$root/build/app/*" "$root/bench/peers/Peers.java" "$root" "$revision" "${1:-}"
