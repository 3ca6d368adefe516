#!/usr/bin/env bash
# Two workers of one thread on one queue against two independent one-thread processes without a fleet, in one run: audio
# seconds a second of both, and their ratio. Exit 0 when the fleet reaches 0.9.
#
# usage: scale.sh [--bin FOLDER] [--queue amqp|redis] AUDIO...
#
# Needs a starter bundle and ONNX Runtime in ROLLCALL_HOME. Give a dozen recordings of some minutes each.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$repo/target/release queue=amqp
while [[ ${1:-} == --* ]]; do
  case $1 in
    --bin) bin=$2 ;; --queue) queue=$2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done
(($# >= 2)) || { echo "error: recordings are missing" >&2; exit 2; }
tmp=$(mktemp -d)
trap '"$repo/deploy/local/down.sh" --dir "$tmp/fleet" >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT

# Alone: both over all recordings, at the same time.
for process in 1 2; do
  "$bin/rollcall-worker" bench --json --threads 1 --repeat 1 "$@" >"$tmp/bench$process" 2>/dev/null &
  pids[process]=$!
done
wait "${pids[1]}" && wait "${pids[2]}"

# The fleet: everything waits in the queue before the workers come, twice over, so that the end weighs little.
eval "$("$repo/deploy/local/up.sh" --dir "$tmp/fleet" --bin "$bin" --workers 0 --queue "$queue")"
for _ in 1 2; do rollcall submit --no-cache --formats json,rttm "$@" >>"$tmp/ids"; done
for worker in 1 2; do
  "$bin/rollcall-local" spawn --dir "$tmp/fleet" --name "worker-$worker" -- "$bin/rollcall-worker" serve --threads 1
done
timeout 900 xargs -a "$tmp/ids" rollcall wait >/dev/null
while read -r job; do rollcall status "$job" --json; done <"$tmp/ids" >"$tmp/records"
python3 - "$tmp" <<'PY'
import collections, datetime, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
alone = []
for process in (1, 2):
    files = json.loads((folder / f"bench{process}").read_text())["recordings"]
    alone.append(sum(f["duration_s"] for f in files) / sum(f["end_to_end_s"] for f in files))
records = [json.loads(line) for line in (folder / "records").read_text().splitlines()]
time = lambda record, name: datetime.datetime.fromisoformat(record[name].replace("Z", "+00:00"))
took = (max(time(r, "completed_at") for r in records) - min(time(r, "started_at") for r in records)).total_seconds()
fleet = sum(r["audio"]["duration_s"] for r in records) / took
shares = collections.Counter(r["worker"] for r in records)
once = all(r["token"] == 1 and r["state"] == "completed" for r in records)
ratio = fleet / sum(alone)
print(f"alone: {alone[0]:.1f} + {alone[1]:.1f} audio s/s; fleet of two: {fleet:.1f} over {took:.1f} s, jobs by worker "
      f"{sorted(shares.values())}, each leased once: {once}; ratio {ratio:.3f}")
sys.exit(not (once and ratio >= 0.9))
PY
