#!/bin/sh
# check-exports.sh NM READELF HEADER LIBRARY...: each library exports nm_* and nothing else, the first one exports
# every function of the header, and none of them needs a C++ runtime or an executable stack.
nm=$1 readelf=$2 header=$3
shift 3
status=0
fail() {
  echo "$1" >&2
  status=1
}

first=$1
for library; do
  exported=$("$nm" -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//')
  [ -n "$exported" ] || fail "$library exports nothing"
  foreign=$(echo "$exported" | grep -v '^nm_')
  [ -z "$foreign" ] || fail "$library exports what is not its own: $(echo $foreign | cut -c1-200)"
  needed=$("$readelf" -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  for name in $needed; do
    case $name in
      libstdc++* | libgcc_s* | libcudart* | libcuda.so*) fail "$library needs $name at run time" ;;
    esac
  done
  "$readelf" -lW "$library" | grep GNU_STACK | grep -q RWE && fail "$library has an executable stack"
  echo "$library: $(echo "$exported" | wc -l) symbols, needs $(echo $needed)"
done

exported=" $("$nm" -D --defined-only "$first" | awk '{print $NF}' | tr '\n' ' ')"
for function in $(sed -n 's/^NM_API .*[ *]\(nm_[a-z0-9_]*\)(.*/\1/p' "$header"); do
  case $exported in
    *" $function "*) ;;
    *) fail "$first lacks $function, which nanomodel.h declares" ;;
  esac
done
exit $status
