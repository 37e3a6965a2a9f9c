#!/bin/sh
# bench/quality.sh MODEL CALIBRATION EVAL [EVAL2]   quantizes MODEL in the ways of docs/quality.md and prints a table:
# perplexity, divergence from MODEL and equal top tokens over the rows of EVAL, perplexity over those of EVAL2.
# CALIBRATION and EVAL are what --calibration and --data take; rows of ids are used as they are.
# GROUP_SIZES="32 64" and ROWS="gptq4 gptq3" choose, SORT=asc is a --calibration-sort (default desc), WORK=DIR is where models go (default: a temporary directory).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 3 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
model=$1 calibration=$2 eval=$3 eval2=${4:-}
nanomodel=${NANOMODEL:-$root/nanomodel}
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"

number() { # number KEY FILE: the first number of a key of a JSON document
  tr ',{}' '\n\n\n' <"$2" | sed -n "s/^ *\"$1\" *: *\([-0-9.eE+]*\).*/\1/p" | head -n 1
}

options() {
  case $1 in
    rtn8) echo "--method rtn --bits 8" ;;
    rtn4) echo "--method rtn --bits 4" ;;
    rtn3) echo "--method rtn --bits 3" ;;
    gptq8) echo "--method gptq --bits 8" ;;
    gptq4) echo "--method gptq --bits 4" ;;
    gptq4_norefresh) echo "--method gptq --bits 4 --no-refresh-groups" ;;
    gptq3_norefresh) echo "--method gptq --bits 3 --no-refresh-groups" ;;
    gptq4_noact) echo "--method gptq --bits 4 --no-act-group-aware" ;;
    gptq4_desc) echo "--method gptq --bits 4 --desc-act" ;;
    gptq4_asym_v2) echo "--method gptq --bits 4 --asym" ;;
    gptaq4) echo "--method gptaq --bits 4" ;;
    gptaq3) echo "--method gptaq --bits 3" ;;
    gptq4_mse) echo "--method gptq --bits 4 --mse 2.4" ;;
    gptq3) echo "--method gptq --bits 3" ;;
    gptq2) echo "--method gptq --bits 2" ;;
    *) echo "unknown row $1" >&2; exit 2 ;;
  esac
}

echo "| row | group | perplexity | KL | top-1 % | perplexity 2 | seconds | peak MB |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for row in ${ROWS:-rtn4 gptq8 gptq4 gptq4_noact gptq4_desc gptq4_asym_v2 gptq3}; do
  for group in ${GROUP_SIZES:-32 64}; do
    out=$work/$row-$group
    # shellcheck disable=SC2046
    "$nanomodel" quantize --json -q --model "$model" $(options "$row") --group-size "$group" \
      --calibration "$calibration" --calibration-sort "${SORT:-desc}" --output "$out" --overwrite --restart >"$out.q.json"
    "$nanomodel" eval --json -q --model "$out" --data "$eval" --protocol rows --metric kl --reference "$model" \
      --reference-logits "$work/reference.logits" >"$out.a.json"
    second=
    if [ -n "$eval2" ]; then
      "$nanomodel" eval --json -q --model "$out" --data "$eval2" --protocol rows >"$out.b.json"
      second=$(number ppl "$out.b.json")
    fi
    echo "$row $group $(number ppl "$out.a.json") $(number kld_mean "$out.a.json") $(number top1_agreement "$out.a.json")" \
      "${second:-0} $(number seconds "$out.q.json") $(number peak_rss_bytes "$out.q.json")" |
      awk '{printf "| %s | %s | %.4f | %.5f | %.2f | %s | %.1f | %.0f |\n", $1, $2, $3, $4, 100*$5, $6 == 0 ? "" : sprintf("%.4f", $6), $7, $8/1e6}'
  done
done
