#!/bin/sh
# bin/format.sh          formats everything: C++ with clang-format 14, Java with google-java-format
# bin/format.sh --check  says which C++ files are not formatted (Maven's verify checks the Java files itself)
set -eu
cd "$(dirname "$0")/.."

clang_format=
for name in clang-format-14 clang-format; do
  if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then
    clang_format=$name
    break
  fi
done

cpp() {
  for folder in csrc tests/native bench/native; do
    [ ! -d "$folder" ] || find "$folder" -type f \( -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0
  done | xargs -0 -r "$clang_format" "$@"
}

if [ -z "$clang_format" ]; then
  echo "clang-format 14 is not installed: C++ files are left as they are" >&2
elif [ "${1:-}" = --check ]; then
  unformatted=$(cpp --dry-run 2>&1 | sed -n 's/^\([^:]*\):\([0-9]*\):.*\[-Wclang-format-violations\]$/\1/p' | sort | uniq -c)
  [ -z "$unformatted" ] || { printf 'Not formatted (run bin/format.sh):\n%s\n' "$unformatted" >&2; exit 1; }
else
  cpp -i
fi

[ "${1:-}" = --check ] || ./mvnw -q -B -ntp spotless:apply
