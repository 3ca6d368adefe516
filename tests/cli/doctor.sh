#!/usr/bin/env bash
# `rollcall-worker doctor` on a machine that can work: what concerns the programs is ok; a GPU that is not there is a failure
# with its reason, whatever else is well.
#
# usage: doctor.sh BIN   (ROLLCALL_HOME: starter bundle and ONNX Runtime)
set -euo pipefail
bin=$1
unset ROLLCALL_BUNDLE ROLLCALL_DEVICE ROLLCALL_STORE_URL
fail() { printf '%s\n%s\n' "$1" "$said" >&2; exit 1; }

said=$("$bin/rollcall-worker" doctor --no-services --device cpu) || fail 'a machine that can work is refused'
for name in system device onnxruntime bundle selftest decode; do
  grep -qE "^ok +$name " <<<"$said" || fail "not ok: $name"
done
said=$("$bin/rollcall-worker" doctor --no-services --device cpu --json) || fail '--json fails'
python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["verdict"] not in ("ok", "warning"))' <<<"$said" || fail 'not the document'

if command -v nvidia-smi >/dev/null; then exit 0; fi
if said=$("$bin/rollcall-worker" doctor --no-services --device cuda 2>&1); then fail 'a GPU that is not there is no failure'; fi
grep -qE '^FAILURE +driver +no NVIDIA driver' <<<"$said" || fail 'the reason is missing'
grep -qE '^ +fix: .*NVIDIA' <<<"$said" || fail 'the fix is missing'
