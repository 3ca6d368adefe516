#!/usr/bin/env bash
# A fleet with the real engine whose workers are killed at random: every job completes, and jobs of one recording have one
# result. Prints what happened; exit 0 when all holds.
#
# usage: real_engine.sh [--jobs N] [--workers N] [--queue amqp|redis] [--bin FOLDER]
#
# Needs a starter bundle and ONNX Runtime in ROLLCALL_HOME, and the programs in release (target/release).
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
jobs=200 workers=3 queue=amqp bin=$repo/target/release
while (($#)); do
  case $1 in
    --jobs) jobs=$2 ;; --workers) workers=$2 ;; --queue) queue=$2 ;; --bin) bin=$2 ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done
tmp=$(mktemp -d)
fleet=$tmp/fleet
trap '"$repo/deploy/local/down.sh" --dir "$fleet" >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
eval "$("$repo/deploy/local/up.sh" --dir "$fleet" --bin "$bin" --workers "$workers" --queue "$queue")"

# Twenty cuts of the sample, 6 to 12 seconds each.
python3 - "$repo/tests/audio/sample.wav" "$tmp" <<'PY'
import sys, wave
source = wave.open(sys.argv[1])
rate, sound = source.getframerate(), source.readframes(source.getnframes())
width = source.getsampwidth() * source.getnchannels()
for cut in range(20):
    start, length = cut * 1.7, 6 + cut % 7
    with wave.open(f"{sys.argv[2]}/cut_{cut:02}.wav", "wb") as out:
        out.setparams(source.getparams())
        out.writeframes(sound[int(start * rate) * width:int((start + length) * rate) * width])
PY
began=$SECONDS
for ((round = 0; round < (jobs + 19) / 20; round++)); do
  rollcall submit --no-cache --max-attempts 10 --tag chaos=real --formats json,rttm "$tmp"/cut_*.wav >>"$tmp/ids"
done
accepted=$(wc -l <"$tmp/ids")
kills=0
timeout 600 xargs -a "$tmp/ids" rollcall wait >"$tmp/waited" 2>&1 &
waiting=$!
while kill -0 $waiting 2>/dev/null; do
  # Rarely enough that no recording loses more workers than its limit of crashes.
  sleep "$((4 + RANDOM % 6))"
  # One that works, whichever it is; another takes its place.
  victim=$(pgrep -f "$bin/rollcall-worker serve" | shuf -n 1) || continue
  kill -KILL "$victim" && kills=$((kills + 1))
  "$bin/rollcall-local" spawn --dir "$fleet" --name "again-$kills" -- "$bin/rollcall-worker" serve --grace 10
done
code=0
wait $waiting || code=$?
while read -r job; do
  rollcall status "$job" --json >"$tmp/$job.record" && rollcall result "$job" --format json -o "$tmp/$job.json" || true
done <"$tmp/ids"
python3 - "$tmp" "$accepted" "$kills" "$code" $((SECONDS - began)) "$queue" <<'PY'
import collections, json, pathlib, sys
folder, accepted, kills, code, took, queue = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:6]), sys.argv[6]
states, turns, crashes, wrong = collections.Counter(), collections.defaultdict(set), 0, []
for job in (folder / "ids").read_text().split():
    record = json.loads((folder / f"{job}.record").read_text())
    states[record["state"]] += 1
    crashes += record["crashes"]
    path = folder / f"{job}.json"
    if not path.exists():
        wrong.append(f"{job} has no result")
        continue
    document = json.loads(path.read_text())
    turns[record["audio"]["sha256"]].add(json.dumps([document["diarization"], document["exclusive"]]))
wrong += [f"{sha256} has {len(found)} results" for sha256, found in turns.items() if len(found) != 1]
if states != {"completed": accepted} or code != 0:
    wrong.append(f"states {dict(states)}, `wait` exited with {code}")
if kills < 5:
    wrong.append(f"only {kills} workers were killed: that shows little")
print(*wrong, sep="\n", end="\n" if wrong else "")
print(f"real engine over {queue}: {accepted} jobs of {len(turns)} recordings, {kills} workers killed, {crashes} crashes counted, "
      f"{dict(states)}, {took} s: {'falls short' if wrong else 'holds'}")
sys.exit(bool(wrong))
PY
