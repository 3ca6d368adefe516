#!/usr/bin/env bash
# The sample of the repository, run as a user would: right number of speakers, small error, every file there.
# usage: sample.sh BIN_FOLDER AUDIO_FOLDER OUT_FOLDER
set -euo pipefail
bin=$1 audio=$2 out=$3
# What keeps ONNX Runtime from noting who runs it is the programs' own doing.
unset ORT_DISABLE_TELEMETRY
"$bin/rollcall-worker" run --json --formats json,rttm,html,srt,vtt,txt --out "$out" "$audio/sample.wav" >"$out.json" 2>"$out.err"
python3 - "$out.json" "$out/sample" <<'PY'
import json, os, sys
line = json.load(open(sys.argv[1]))
assert line["ok"] and line["failure"] is None and line["speakers"] == 3, line
assert abs(line["duration_s"] - 47.0) < 0.1 and line["turns"] >= 9, line
folder = sys.argv[2]
for name in ("segments.json", "turns.rttm", "timeline.html", "subtitles.srt", "subtitles.vtt", "transcript.txt", "embeddings.npy"):
    assert os.path.getsize(os.path.join(folder, name)) > 0, name
document = json.load(open(os.path.join(folder, "segments.json")))
assert list(document)[:3] == ["segments", "speakers", "diarization"], list(document)
assert document["speakers"] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"], document["speakers"]
exclusive = sorted((t["start"], t["end"]) for t in document["exclusive"])
assert all(a[1] <= b[0] for a, b in zip(exclusive, exclusive[1:])), "exclusive turns overlap"
assert any(a["end"] > b["start"] and a["speaker"] != b["speaker"] for a, b in zip(document["diarization"], document["diarization"][1:])), "no overlapped speech found"
PY
"$bin/rollcall" score --json --reference "$audio/sample.rttm" --hypothesis "$out/sample/turns.rttm" >"$out.score"
python3 -c 'import json, sys
der = json.load(open(sys.argv[1]))["total"]["der"]
assert der <= 0.10, f"DER {der}"' "$out.score"
# A wish for a number of speakers is kept.
for n in 1 2; do
  "$bin/rollcall-worker" run --json --num-speakers "$n" --out "$out-$n" "$audio/sample.wav" 2>/dev/null |
    python3 -c 'import json, sys; d = json.load(sys.stdin); assert d["speakers"] == int(sys.argv[1]), d' "$n"
done
# More than can be told apart: the document says so instead of making somebody up.
"$bin/rollcall-worker" run --json --num-speakers 8 --out "$out-8" "$audio/sample.wav" >/dev/null 2>&1
python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert len(d["speakers"]) == 8 or any("at least 8" in w for w in d["warnings"]), d["warnings"]' "$out-8/sample/segments.json"
"$bin/rollcall-worker" run --json --max-speakers 2 --out "$out-max" "$audio/sample.wav" 2>/dev/null |
  python3 -c 'import json, sys; d = json.load(sys.stdin); assert d["speakers"] <= 2, d'
# A name that is nearly `..`, settings set to nothing, nobody reading progress: the work is done, and nothing lies anywhere else.
odd=$out-odd
mkdir -p "$odd/home"
cp "$audio/sample.wav" "$odd/...wav"
HOME=$odd/home XDG_DATA_HOME=$odd/home XDG_CACHE_HOME=$odd/home ROLLCALL_DEVICE='' ROLLCALL_BUNDLE='' ROLLCALL_CONFIG='' \
  "$bin/rollcall-worker" run --json --out "$odd/out" "$odd/...wav" "$audio/sample.wav" >"$odd/json" 2>/dev/full
cmp "$odd/out/...wav/embeddings.npy" "$odd/out/sample/embeddings.npy"
left=$(find "$odd" -path "$odd/out/*" -prune -o -print | LC_ALL=C sort | sed "s|^$odd||" | tr '\n' ' ')
[[ $left == ' /...wav /home /json /out ' ]] || { echo "left: $left"; exit 1; }
# Output that cannot be written is no success.
code=0
"$bin/rollcall-worker" run --json --out "$odd/out" "$audio/sample.wav" >/dev/full 2>"$odd/err" || code=$?
[[ $code == 1 ]] && grep -q 'the output cannot be written' "$odd/err" || { echo "exit $code"; cat "$odd/err"; exit 1; }
# Addresses are for `rollcall submit`.
code=0
"$bin/rollcall-worker" run --out s3://bucket/out "$audio/sample.wav" 2>"$odd/err" || code=$?
[[ $code == 2 ]] && grep -q 'rollcall submit' "$odd/err" || { echo "exit $code"; cat "$odd/err"; exit 1; }
