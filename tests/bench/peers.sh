#!/usr/bin/env bash
# Rollcall, senko and sherpa-onnx on the same recordings in one run: time ratios, DER and memory side by side.
# usage: peers.sh [--worker PATH] [--bundle DIR] [--out DIR] [--repeat N] [--threads N] [--skip senko|sherpa]... AUDIO...
# `peers.sh --help` says the rest. The peers go into virtual environments under ${XDG_CACHE_HOME:-~/.cache}/rollcall/peers
# (ROLLCALL_PEERS overrides; 6 GB for senko, whose torch brings CUDA along, 0.3 GB for sherpa-onnx). They are made once; a run that
# was killed while making them begins that one again.
set -euo pipefail

die() { echo "peers.sh: $1" >&2; [[ -z ${2:-} ]] || echo "hint: $2" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
command -v "$python" >/dev/null || die "\`$python\` is missing" "install Python 3.11 to 3.13, or set PYTHON"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
  die "the peers need Python 3.11 to 3.13, this is: $("$python" -V 2>&1)" "set PYTHON to another interpreter"
export PYTHONDONTWRITEBYTECODE=1
peers=${ROLLCALL_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/rollcall/peers}

# Arguments are checked before anything is fetched; the answer is the peers that are wanted, in words.
wanted=$("$python" "$here/peers.py" --plan "$@") || exit $?
case $wanted in usage:*) echo "$wanted"; exit 0 ;; esac

mkdir -p "$peers" || die "cannot make the cache folder: $peers" "set ROLLCALL_PEERS to a folder that can be written"
exec 9>"$peers/lock"
if ! flock -n 9; then
  echo "another run of peers.sh holds $peers; waiting, because two at once would spoil both" >&2
  flock 9
fi

environment() { # name, free MiB that it takes
  local name=$1 mib=$2 folder=$peers/$1 log=$peers/$1.log key free
  key=$(cat "$here/peers-$name.txt" "$here/peers-constraints.txt" <("$python" -VV) | sha256sum | cut -c1-64)
  [[ $(cat "$folder/.complete" 2>/dev/null) == "$key" ]] && return 0
  free=$(df -Pm "$peers" | awk 'NR == 2 { print $4 }')
  ((free >= mib)) || die "$name needs $mib MiB free in $peers, there are: $free" "set ROLLCALL_PEERS, or use --skip $name"
  echo "installing $name into $folder (log: $log)" >&2
  rm -rf "$folder"
  "$python" -m venv "$folder" >"$log" 2>&1 || die "cannot make a virtual environment: $(tail -n 1 "$log")" "on Debian: apt-get install python3-venv"
  "$folder/bin/python" -m pip install --no-input --disable-pip-version-check --only-binary=:all: \
    -r "$here/peers-$name.txt" -c "$here/peers-constraints.txt" >>"$log" 2>&1 9>&- ||
    { tail -n 5 "$log" >&2; die "pip could not install $name" "is the package registry reachable? run again: what was fetched is kept by pip"; }
  echo "$key" >"$folder/.complete.partial" && mv "$folder/.complete.partial" "$folder/.complete"
}

for name in $wanted; do
  case $name in senko) environment senko 9000 ;; sherpa) environment sherpa 800 ;; esac
done
exec "$python" "$here/peers.py" --peers "$peers" "$@"
