#!/usr/bin/env bash
# What a user sees when something is wrong: one line what, the cause, a hint, and the exit code of the contract.
# usage: errors.sh BIN_FOLDER TMP_FOLDER
set -uo pipefail
bin=$1 tmp=$2
mkdir -p "$tmp"
fell=0
# expect CODE PATTERN COMMAND...
expect() {
  local code=$1 pattern=$2 got=0
  shift 2
  "$@" >"$tmp/out" 2>&1 || got=$?
  if [[ $got != "$code" ]] || ! grep -qE -- "$pattern" "$tmp/out"; then
    echo "exit $got, expected $code and /$pattern/: $*"; cat "$tmp/out"; fell=1
  fi
}
printf 'not audio' >"$tmp/text.wav"
: >"$tmp/empty.wav"
worker=$bin/rollcall-worker
expect 1 'source_missing' "$worker" run --out "$tmp/o" "$tmp/nothing.wav"
expect 1 'audio_(unsupported|corrupt)' "$worker" run --out "$tmp/o" "$tmp/text.wav"
expect 1 '"code":"audio_' "$worker" run --json --out "$tmp/o" "$tmp/empty.wav"
expect 1 'unsupported' "$worker" run --out "$tmp/o" "$tmp"
expect 2 'hint: ' "$worker" run --bundle no-such-bundle --out "$tmp/o" "$tmp/text.wav"
expect 2 'hint: ' "$worker" run --device cuda --out "$tmp/o" "$tmp/text.wav"
expect 2 'not a device' "$worker" run --device quantum "$tmp/text.wav"
printf 'devise = "cpu"\n' >"$tmp/rollcall.toml"
expect 2 'unknown field .devise' "$worker" run --config "$tmp/rollcall.toml" "$tmp/text.wav"
printf 'device = "cuda:7"\n' >"$tmp/rollcall.toml"
expect 2 'no GPU' "$worker" run --config "$tmp/rollcall.toml" "$tmp/text.wav"
expect 1 'audio_' env ROLLCALL_DEVICE=cpu "$worker" run --config "$tmp/rollcall.toml" --out "$tmp/o" "$tmp/text.wav"
expect 2 'not installed' env ORT_DYLIB_PATH="$tmp/libnone.so" "$worker" run --out "$tmp/o" "$tmp/text.wav"
cp "$tmp/text.wav" "$tmp/libwrong.so"
expect 2 'is not ONNX Runtime' env ORT_DYLIB_PATH="$tmp/libwrong.so" "$worker" run --out "$tmp/o" "$tmp/text.wav"
expect 2 'above' "$worker" run --min-speakers 3 --max-speakers 2 "$tmp/text.wav"
expect 2 'cannot be used with' "$worker" run --num-speakers 3 --max-speakers 2 "$tmp/text.wav"
expect 2 'required' "$worker" run
# A good file beside a bad one is still done.
good=$(dirname "${BASH_SOURCE[0]}")/../audio/sample.wav
expect 1 'SPEAKER_02' "$worker" run --out "$tmp/o" "$tmp/text.wav" "$good"
[[ -s $tmp/o/sample/segments.json ]] || { echo 'the good file was not done'; fell=1; }
exit $fell
