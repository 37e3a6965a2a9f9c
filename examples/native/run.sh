#!/bin/sh
# run.sh [BUILD]  installs libnanomodel from a build folder (build/native) into a temporary prefix, then builds and runs
# the example of each language whose compiler is here. All of them work on the same numbers and must say the same.
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
build=${1:-$here/../../build/native}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >/dev/null

library=$(find "$prefix" -name libnanomodel.so -o -name libnanomodel.dylib | head -n 1)
libdir=$(dirname "$library")
export LD_LIBRARY_PATH="$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" DYLD_LIBRARY_PATH="$libdir"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
results=$work/results
: >"$results"

skip() {
  echo "skipped: $1"
}

run() {
  "$@" >"$work/line" || { cat "$work/line"; echo "failed: $1" >&2; exit 1; }
  cat "$work/line"
  sed 's/^[^:]*: *//' "$work/line" >>"$results"
}

if command -v cc >/dev/null && command -v pkg-config >/dev/null; then
  # shellcheck disable=SC2046 # several flags
  cc -std=c99 -O2 -Wall -Wextra -pedantic-errors -Werror "$here/quantize.c" $(pkg-config --cflags --libs nanomodel) -lm \
    -o "$work/quantize_c"
  run "$work/quantize_c"
else
  skip "C (needs cc and pkg-config)"
fi

if command -v c++ >/dev/null; then
  if ! { cmake -S "$here/cpp" -B "$work/cpp" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" && cmake --build "$work/cpp"; } >"$work/cpp.log" 2>&1; then
    cat "$work/cpp.log" >&2
    exit 1
  fi
  run "$work/cpp/quantize"
else
  skip "C++ (needs c++)"
fi

if command -v python3 >/dev/null; then
  run python3 "$here/quantize.py" "$library"
else
  skip "Python (needs python3)"
fi

if command -v rustc >/dev/null; then
  rustc -O -D warnings --edition 2021 "$here/quantize.rs" -L "native=$libdir" -l nanomodel -o "$work/quantize_rs"
  run "$work/quantize_rs"
else
  skip "Rust (needs rustc)"
fi

[ -s "$results" ] || { echo "nothing was run: no compiler and no python3 here" >&2; exit 1; }
[ "$(sort -u "$results" | wc -l)" -eq 1 ] || { echo "the languages do not agree" >&2; exit 1; }
