#!/usr/bin/env bash
# A call of two channels: people of each channel, one numbering, cross-talk that is nobody, a transcript joined; and what
# happens with one channel, with more, and with the same sound on both.
# usage: call.sh BIN_FOLDER AUDIO_FOLDER OUT_FOLDER
set -euo pipefail
bin=$1 audio=$2 out=$3
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$out"
# The sample on both channels, every 6 s on the one and then on the other, with an echo of 30 dB less.
PERIODS=6 LEAKS=-30 "$here/../accuracy/calls.sh" "$bin" "$out" "$audio/sample.wav" "$audio/sample.wav"
call=$out/sample+sample-6--30
cat >"$out/said.json" <<'JSON'
[{"start": 0.0, "end": 5.5, "text": " On the left."}, {"start": 6.5, "end": 11.0, "text": " On the right."},
 {"start": 900, "end": 901, "text": " Nobody."}]
JSON
run() { "$bin/rollcall-worker" run --json --formats json,rttm,txt "$@" >>"$out/lines" 2>/dev/null; }
run --channels separate --jobs 1 --transcript "$out/said.json" --out "$out/one" "$call/call.wav"
run --channels separate --threads 1 --batch-rows 64 --transcript "$out/said.json" --out "$out/two" "$call/call.wav"
run --channels separate --out "$out/mono" "$audio/sample.wav"
run --channels mix --out "$out/mix" "$audio/sample.wav"
run --channels separate --num-speakers 1 --out "$out/few" "$call/call.wav"
python3 - "$out" "$audio/sample.wav" <<'PY'
import json, os, sys, wave
out = sys.argv[1]
def document(run, name):
    d = json.load(open(os.path.join(out, run, name, "segments.json")))
    for key in ("job", "timing", "device"):
        d.pop(key)
    return d
one, two = document("one", "call"), document("two", "call")
assert one == two, "a call depends on threads or batches"
labels = [f"SPEAKER_{n:02}" for n in range(len(one["speakers"]))]
assert one["speakers"] == labels, one["speakers"]
first = {}
for turn in one["diarization"]:
    first.setdefault(turn["speaker"], turn["start"])
assert list(first) == labels, "labels are not in order of first speech"
channels = {d["label"]: d["channel"] for d in one["speaker_details"]}
assert set(channels.values()) == {1, 2}, channels
exclusive = sorted((t["start"], t["end"]) for t in one["exclusive"])
assert all(a[1] <= b[0] for a, b in zip(exclusive, exclusive[1:])), "exclusive turns overlap"
for line in open(os.path.join(out, "one/call/turns.rttm")):
    fields = line.split()
    assert fields[2] == str(channels[fields[7]]), line
said = one["segments"]
assert [channels.get(s["speaker"]) for s in said] == [1, 2, None], said
assert said[2]["speaker"] == "UNKNOWN", said[2]
assert document("mono", "sample") == document("mix", "sample"), "one channel is not as if mixed"
few = document("few", "call")
assert sorted(d["channel"] for d in few["speaker_details"]) == [1, 2], few["speaker_details"]
# The same sound on three channels.
mono = wave.open(sys.argv[2])
frames = mono.readframes(mono.getframerate() * 20)
with wave.open(os.path.join(out, "same.wav"), "wb") as w:
    w.setnchannels(3); w.setsampwidth(2); w.setframerate(mono.getframerate())
    w.writeframes(b"".join(frames[i:i + 2] * 3 for i in range(0, len(frames), 2)))
PY
run --channels separate --out "$out/same" "$out/same.wav"
python3 - "$out/same/same/segments.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert any("channels 1 and 2 carry the same sound" in w for w in d["warnings"]), d["warnings"]
per_channel = [sum(s["channel"] == c for s in d["speaker_details"]) for c in (1, 2, 3)]
assert per_channel[0] == per_channel[1] == per_channel[2] > 0, per_channel
PY
