#!/usr/bin/env bash
# Calls of two channels made of two labelled recordings: each channel of the call, with `--channels separate`, against the
# same channel alone. Prints a table; fails where a channel is more than 2 points of DER worse.
#
# usage: calls.sh BIN_FOLDER OUT_FOLDER LEFT RIGHT [LEFT RIGHT ...]
# Variables: LEAKS ("none -30": levels of the echo, dB), PERIODS ("0 8": seconds after which the channels take turns; 0 is
# both at once), RUN (a command in front of each run).
set -euo pipefail
bin=$1 out=$2
shift 2
mkdir -p "$out"
printf '%-34s %5s %6s  %-7s %7s %7s  %s\n' call leak turns channel alone call speakers
worse=0
der() { # der REFERENCE HYPOTHESIS: percent, recording names made equal
  awk '{$2 = "x"} 1' "$1" >"$out/reference.rttm"; awk '{$2 = "x"} 1' "$2" >"$out/hypothesis.rttm"
  "$bin/rollcall" score --json --reference "$out/reference.rttm" --hypothesis "$out/hypothesis.rttm" |
    python3 -c 'import json, sys; print("%.2f" % (100 * json.load(sys.stdin)["total"]["der"]))'
}
while [[ $# -ge 2 ]]; do
  left=$1 right=$2 name="$(basename "${1%.*}")+$(basename "${2%.*}")"
  shift 2
  for period in ${PERIODS:-0 8}; do
    for leak in ${LEAKS:-none -30}; do
      dir=$out/$name-$period-$leak
      split=(); [[ $period == 0 ]] || split=("$period")
      "$bin/examples/make_call" "$left" "$right" "$dir" "$leak" "${split[@]}" 2>/dev/null
      ${RUN:-} "$bin/rollcall-worker" run --formats json,rttm --out "$dir/alone" "$dir/left.wav" "$dir/right.wav" >/dev/null 2>&1
      ${RUN:-} "$bin/rollcall-worker" run --formats json,rttm --channels separate --out "$dir/out" "$dir/call.wav" >/dev/null 2>&1
      channel=0
      for side in left right; do
        channel=$((channel + 1))
        awk -v c=$channel '$3 == c' "$dir/out/call/turns.rttm" >"$dir/$side.call.rttm"
        alone=$(der "$dir/$side.rttm" "$dir/alone/$side/turns.rttm") call=$(der "$dir/$side.rttm" "$dir/$side.call.rttm")
        speakers=$(cut -d' ' -f8 "$dir/$side.call.rttm" | sort -u | wc -l)/$(cut -d' ' -f8 "$dir/$side.rttm" | sort -u | wc -l)
        mark=$(awk -v a="$alone" -v c="$call" 'BEGIN {print (c > a + 2) ? "  over 2 points worse" : ""}')
        [[ -z $mark ]] || worse=1
        printf '%-34s %5s %6s  %-7s %7s %7s  %s%s\n' "$name" "$leak" "$period" "$side" "$alone" "$call" "$speakers" "$mark"
      done
    done
  done
done
exit $worse
