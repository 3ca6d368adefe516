#!/usr/bin/env bash
# The document is byte-equal at every batch size, thread count and number of jobs, but for job, timing, device and uri.
# usage: same_document.sh BIN_FOLDER AUDIO_FOLDER OUT_FOLDER
set -euo pipefail
bin=$1 audio=$2 out=$3
mkdir -p "$out"
inputs=()
for i in 1 2 3 4; do cp "$audio/sample.wav" "$out/copy$i.wav"; inputs+=("$out/copy$i.wav"); done
run() { "$bin/rollcall-worker" run --formats json --out "$out/$1" "${@:2}" "${inputs[@]}" >/dev/null 2>&1; }
run jobs1 --jobs 1
run jobs4 --jobs 4
run rows1 --batch-rows 1 --jobs 1
run rows64 --batch-rows 64 --jobs 2
run threads1 --threads 1 --batch-rows 8
python3 - "$out" <<'PY'
import json, os, sys
seen = {}
for run in ("jobs1", "jobs4", "rows1", "rows64", "threads1"):
    for i in range(1, 5):
        document = json.load(open(os.path.join(sys.argv[1], run, f"copy{i}", "segments.json")))
        for key in ("job", "timing", "device"):
            document.pop(key)
        document["audio"].pop("uri")
        embeddings = open(os.path.join(sys.argv[1], run, f"copy{i}", "embeddings.npy"), "rb").read()
        seen.setdefault((json.dumps(document), embeddings), []).append(f"{run}/copy{i}")
assert len(seen) == 1, [v for v in seen.values()]
PY
