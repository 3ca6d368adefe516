#!/usr/bin/env bash
# Calls of two channels made of two labelled recordings: each channel of the call, with `--channels separate`, against the
# same channel alone. Prints a table; fails where a channel is more than 2 points of DER worse.
#
# usage: calls.sh BIN_FOLDER OUT_FOLDER LEFT RIGHT [LEFT RIGHT ...]
# Variables: LEAKS ("none -30": levels of the echo, dB), PERIODS ("0 8": seconds after which the channels take turns; 0 is
# both at once), RIGHTS ("0": decibels by which the right channel is made louder; "level", "level-10": both brought to -28 dB,
# the right one 10 dB below), DELAY_MS (of the echo, 0), RUN (a command in front of each run).
set -euo pipefail
bin=$1 out=$2
shift 2
mkdir -p "$out"
printf '%-34s %5s %6s %8s  %-7s %7s %7s %6s  %s\n' call leak turns right channel alone call more speakers
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
    for loud in ${RIGHTS:-0}; do for leak in ${LEAKS:-none -30}; do
      dir=$out/$name-$period-$leak
      [[ $loud == 0 ]] || dir=$dir-$loud
      "$bin/examples/make_call" "$left" "$right" "$dir" "$leak" "$period" "$loud" "${DELAY_MS:-0}" 2>/dev/null
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
        more=$(awk -v a="$alone" -v c="$call" 'BEGIN {printf "%+.2f", c - a}')
        printf '%-34s %5s %6s %8s  %-7s %7s %7s %6s  %s%s\n' \
          "$name" "$leak" "$period" "$loud" "$side" "$alone" "$call" "$more" "$speakers" "$mark"
      done
    done; done
  done
done
exit $worse
