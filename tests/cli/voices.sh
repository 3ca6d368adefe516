#!/usr/bin/env bash
# Known voices of `rollcall-worker run --speakers`: people of the sample under their names, a stranger without one, the
# fast path of a monologue, and what is refused.
# usage: voices.sh BIN_FOLDER AUDIO_FOLDER OUT_FOLDER
set -euo pipefail
bin=$1 audio=$2 out=$3
mkdir -p "$out/known" "$out/short" "$out/both"
# Each person of the sample alone, cut by its labels.
python3 - "$audio" "$out" <<'PY'
import sys, wave
audio, out = sys.argv[1:]
spans = {}
for line in open(f"{audio}/sample.rttm"):
    f = line.split()
    spans.setdefault(f[7], []).append((float(f[3]), float(f[3]) + float(f[4])))
source = wave.open(f"{audio}/sample.wav")
rate = source.getframerate()
def cut(spans):
    parts = []
    for start, end in spans:
        source.setpos(int(start * rate))
        parts.append(source.readframes(int((end - start) * rate)))
    return b"".join(parts)
def write(path, frames):
    with wave.open(path, "wb") as w:
        w.setnchannels(1); w.setsampwidth(source.getsampwidth()); w.setframerate(rate)
        w.writeframes(frames)
def alone(name):
    """Where nobody else speaks."""
    parts = list(spans[name])
    for s, e in (span for other in spans if other != name for span in spans[other]):
        parts = [part for x, y in parts for part in ((x, min(y, s)), (max(x, e), y)) if part[1] > part[0]]
    return parts
mine = {name: cut(alone(name)) for name in spans}
write(f"{out}/known/Anna.wav", mine["anna"])
write(f"{out}/known/Robert B.wav", mine["robert"])
write(f"{out}/monologue.wav", mine["anna"] * 3)
# The same, and then somebody else in words of a second, half a minute of them.
word = mine["ewan"][2 * rate : 4 * rate] + bytes(2 * rate * 4)
write(f"{out}/words.wav", mine["anna"] * 3 + bytes(2 * rate * 3) + word * 6)
write(f"{out}/short/Anna.wav", mine["anna"][: 2 * rate * 6])
write(f"{out}/both/Two.wav", mine["anna"] + mine["ewan"])
PY
run() { "$bin/rollcall-worker" run --json --formats json,srt,txt,rttm "$@"; }
run --speakers "$out/known" --out "$out/named" "$audio/sample.wav" "$out/monologue.wav" "$out/words.wav" >"$out/lines" 2>"$out/said"
run --out "$out/plain" "$audio/sample.wav" "$out/monologue.wav" >/dev/null 2>&1
python3 - "$audio" "$out" <<'PY'
import json, sys
audio, out = sys.argv[1:]
def read(run, name): return json.load(open(f"{out}/{run}/{name}/segments.json"))
named, plain = read("named", "sample"), read("plain", "sample")
for key in ("segments", "speakers", "diarization", "exclusive", "warnings"):
    assert named[key] == plain[key], f"{key} depends on known voices"
assert all(d["name"] is None and d["similarity"] is None for d in plain["speaker_details"])
reference = [(float(f[3]), float(f[3]) + float(f[4]), f[7]) for f in map(str.split, open(f"{audio}/sample.rttm"))]
found = {}
for d in named["speaker_details"]:
    shared = {}
    for t in named["diarization"]:
        if t["speaker"] == d["label"]:
            for start, end, who in reference:
                shared[who] = shared.get(who, 0) + max(0, min(end, t["end"]) - max(start, t["start"]))
    found[max(shared, key=shared.get)] = (d["name"], d["similarity"])
assert found["anna"][0] == "Anna" and found["robert"][0] == "Robert B", found
assert found["ewan"] == (None, None), found
assert all(0.7 < s <= 1 for n, s in found.values() if n), found
subtitles = open(f"{out}/named/sample/subtitles.srt").read()
assert "[Anna]" in subtitles and "[Robert B]" in subtitles and "[SPEAKER_" in subtitles, subtitles
assert "SPEAKER_00" in open(f"{out}/named/sample/turns.rttm").read(), "RTTM keeps labels"
assert "fast_path" not in named and "fast_path" not in plain
fast, slow = read("named", "monologue"), read("plain", "monologue")
assert fast.get("fast_path") is True and fast["speaker_details"][0]["name"] == "Anna", fast["speaker_details"]
assert "fast_path" not in slow
assert "fast_path" not in read("named", "words"), "words that nobody listened to are nobody's for sure"
# What only one of both calls speech is nowhere longer than a chunk step of 2.5 s.
def covered(document): return [(t["start"], t["end"]) for t in document["diarization"]]
def longest(a, b):
    times = sorted({t for span in a + b for t in span})
    inside = lambda spans, s, e: any(x <= s and e <= y for x, y in spans)
    worst = run = 0
    for s, e in zip(times, times[1:]):
        run = run + e - s if inside(a, s, e) != inside(b, s, e) else 0
        worst = max(worst, run)
    return worst
assert longest(covered(fast), covered(slow)) < 2.5, (fast["diarization"], slow["diarization"])
PY
refused() { # refused CODE FOLDER WORD...: it ends with the code, and stderr says each word and a hint
  local code=$1 folder=$2 got=0; shift 2
  run --speakers "$folder" --out "$out/none" "$audio/sample.wav" >"$out/said" 2>&1 || got=$?
  [[ $got == "$code" ]] || { echo "voices of $folder: exit $got instead of $code"; cat "$out/said"; exit 1; }
  grep -q '^hint: ' "$out/said" || { echo "no hint"; cat "$out/said"; exit 1; }
  for word in "$@"; do grep -qF -- "$word" "$out/said" || { echo "not said: $word"; cat "$out/said"; exit 1; }; done
}
refused 1 "$out/short" 'short/Anna.wav' 'of clean speech' 'give a longer recording'
refused 1 "$out/both" 'both/Two.wav' 'several people'
mkdir -p "$out/junk" "$out/empty"
echo '{"schema": "rollcall/voice/1"}' >"$out/junk/Anna.json"
refused 2 "$out/junk" 'not a known voice' 'junk/Anna.json'
refused 2 "$out/empty" 'no voices'
