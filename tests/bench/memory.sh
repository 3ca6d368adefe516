#!/usr/bin/env bash
# Peak resident memory and time of one process per recording, with the worker's defaults.
# usage: memory.sh WORKER AUDIO... [-- WORKER OPTION...]      e.g. memory.sh target/release/rollcall-worker a.flac -- --threads 2
# MEMORY_MIB_MAX=600 makes a higher peak a failure (exit 1). ROLLCALL_HOME and ROLLCALL_BUNDLE are the worker's own.
set -uo pipefail

usage() { sed -n '3s/^# //p' "$0" >&2; exit 2; }
[[ $# -ge 2 ]] || usage
command -v python3 >/dev/null || { echo "memory.sh: python3 is missing" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
worker=$1; shift
[[ -x $worker ]] || { echo "memory.sh: not a program: $worker" >&2; exit 2; }
files=()
while [[ $# -gt 0 && $1 != -- ]]; do files+=("$1"); shift; done
[[ ${1:-} == -- ]] && shift
[[ ${#files[@]} -gt 0 ]] || usage

scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
status=0
printf '%10s %9s %9s %10s %9s %8s  %s\n' 'length s' 'wall s' 'cpu s' 'peak MiB' 'xRT' 'others %' file
for file in "${files[@]}"; do
  rm -rf "$scratch/out"
  python3 "$here/measured.py" --json -- "$worker" run --json --formats rttm,json --out "$scratch/out" "$@" -- "$file" \
    >"$scratch/line" 2>"$scratch/log" || { echo "failed: $file" >&2; sed '$d' "$scratch/log" | tail -n 6 >&2; status=1; continue; }
  python3 - "$scratch/line" "$scratch/log" "$file" "${MEMORY_MIB_MAX:-0}" <<'PY' || status=1
import json, sys
line, log, name, mib_max = sys.argv[1:]
run = json.loads(open(line).read().splitlines()[-1])
measured = json.loads(open(log).read().splitlines()[-1])
mib = measured["peak_bytes"] / 2**20
print(f"{run['duration_s']:10.1f} {measured['wall_s']:9.2f} {measured['cpu_s']:9.2f} {mib:10.0f} "
      f"{run['duration_s'] / measured['wall_s']:9.1f} {100 * measured['others_share']:8.0f}  {name}")
if 0 < float(mib_max) < mib:
    sys.exit(f"above the limit of {mib_max} MiB: {name}")
PY
done
exit $status
