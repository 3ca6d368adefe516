#!/usr/bin/env bash
# Stops the fleet that up.sh started and removes everything it kept: records, queues, objects.
set -euo pipefail

dir=${XDG_STATE_HOME:-${HOME:?}/.local/state}/rollcall/local
while (($#)); do
  case $1 in
    --dir) dir=${2:?--dir needs a folder}; shift 2 ;;
    -h | --help) echo "usage: down.sh [--dir DIR]"; exit 0 ;;
    *) echo "usage: down.sh [--dir DIR]" >&2; exit 2 ;;
  esac
done
[[ -e $dir ]] || exit 0
if [[ ! -x $dir/rollcall-local ]]; then
  echo "error: not a folder that up.sh made: $dir" >&2
  exit 1
fi
"$dir/rollcall-local" stop --dir "$dir"
