#!/usr/bin/env bash
# How long `ensure` takes for the starter bundle from an S3 server on this machine, into an empty folder: fetched, unpacked,
# compared with every digest, synced, renamed; then with the self-test; then again with nothing to do.
#
# usage: ensure_time.sh --bin FOLDER --home DIR
#   --bin FOLDER  rollcall-worker, rollcall-provision and rollcall-local
#   --home DIR    a ROLLCALL_HOME with the starter bundle and ONNX Runtime, which go into the store
set -euo pipefail

bin='' home=''
while (($#)); do
  case $1 in
    --bin) bin=$(cd "$2" && pwd); shift 2 ;;
    --home) home=$(cd "$2" && pwd); shift 2 ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
[[ -n $bin && -n $home ]] || { echo 'error: --bin and --home are needed' >&2; exit 2; }
tmp=$(mktemp -d)
trap '"$bin/rollcall-local" stop --dir "$tmp/servers" >/dev/null 2>&1 || true; rm -rf "$tmp"' EXIT
timeout 60 "$bin/rollcall-local" start --dir "$tmp/servers" --s3 rollcall >"$tmp/exports"
eval "$(grep '^export ' "$tmp/exports")"
unset ROLLCALL_BUNDLE
program=$bin/rollcall-provision

# timed TEXT COMMAND...: wall-clock milliseconds
timed() {
  local text=$1 started ended
  shift
  started=$(date +%s%N)
  timeout 120 "$@" >>"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
  ended=$(date +%s%N)
  printf '%-44s %5d ms\n' "$text" $(((ended - started) / 1000000))
}

printf 'files of the bundle: %s bytes\n' "$(cat "$home"/bundles/starter/current/* | wc -c)"
ROLLCALL_HOME=$home timed 'push' "$program" push "$home/bundles/starter/current" "$ROLLCALL_STORE_URL"
ROLLCALL_HOME=$home timed 'pack-runtime' "$program" pack-runtime "$ROLLCALL_STORE_URL"
for round in 1 2 3; do
  export ROLLCALL_HOME=$tmp/home-$round
  timed "ensure $round, without self-test" "$program" ensure starter --no-selftest
done
timed 'runtime --store' "$program" runtime --store "$ROLLCALL_STORE_URL"
timed 'ensure, nothing to do' "$program" ensure starter
rm -rf "$ROLLCALL_HOME/bundles"
timed 'ensure, with self-test' "$program" ensure starter
timed 'verify' "$program" verify starter
