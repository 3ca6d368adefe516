#!/usr/bin/env python3
"""Makes sample.wav and sample.rttm: a short conversation of three synthetic voices, with the labels that made it.

usage: make_sample.py [FOLDER]        needs `flite` (Debian: apt-get install flite); writes into this script's folder

The text is ours and the voices are those of the speech synthesiser; nobody was recorded. Labels are exact: each
utterance is trimmed to where it is louder than -45 dB of its peak, and placed with a gap, or over the end of the one
before it (a negative gap).
"""
import array
import os
import subprocess
import sys
import tempfile
import wave

RATE = 16_000
VOICES = {"anna": "slt", "robert": "rms", "ewan": "awb"}
# who, gap to the end of the utterance before (s), what
SCRIPT = [
    ("anna", 0.6, "Good morning everybody. Let us go through the list of open jobs before the weekend."),
    ("robert", 0.5, "The queue was quiet last night. We had four workers, and the longest job took about nine minutes."),
    ("ewan", 0.7, "I saw one retry on the second machine. The disk was full, so the lease ran out and another worker took it."),
    ("anna", 0.4, "Was anything lost when that happened?"),
    ("ewan", 0.4, "No. The result was written once, by the worker that held the lease in the end."),
    ("robert", -0.5, "That is what I found in the record as well, only one attempt was ever visible."),
    ("anna", 0.6, "Very good. Then please add a check of the free space when a new box starts, and tell me how it went."),
    ("robert", 0.5, "I can do that today. It should fail early, and it should say what to do about it."),
    ("ewan", -0.4, "And I will clean the old files on that machine this afternoon."),
    ("anna", 0.5, "Thank you both. See you on Monday."),
]


def speak(voice, text):
    """Samples of one utterance, 16 kHz, trimmed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.wav")
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True)
        with wave.open(path) as f:
            assert (f.getframerate(), f.getnchannels(), f.getsampwidth()) == (RATE, 1, 2), "16 kHz mono, 16 bits"
            samples = array.array("h", f.readframes(f.getnframes()))
    peak = max(abs(s) for s in samples)
    loud = [i for i, s in enumerate(samples) if abs(s) > peak * 10 ** (-45 / 20)]
    samples = samples[loud[0]:loud[-1] + 1]
    return [s * 12_000 / peak for s in samples]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    mix, turns, end = [], [], 0
    for who, gap, text in SCRIPT:
        samples = speak(VOICES[who], text)
        start = max(0, end + round(gap * RATE))
        end = start + len(samples)
        mix.extend([0.0] * (end - len(mix)))
        for i, s in enumerate(samples):
            mix[start + i] += s
        turns.append((start / RATE, len(samples) / RATE, who))
    mix.extend([0.0] * (RATE // 2))
    # A faint hiss, as every real room has one: digital silence between turns would be unlike any recording.
    state = 1
    for i in range(len(mix)):
        state = (state * 1_664_525 + 1_013_904_223) % 2**32
        mix[i] += (state / 2**31 - 1) * 12
    with wave.open(os.path.join(folder, "sample.wav"), "wb") as f:
        f.setparams((1, 2, RATE, 0, "NONE", ""))
        f.writeframes(array.array("h", (max(-32768, min(32767, round(s))) for s in mix)).tobytes())
    with open(os.path.join(folder, "sample.rttm"), "w", encoding="utf-8") as f:
        for start, length, who in turns:
            f.write(f"SPEAKER sample 1 {start:.3f} {length:.3f} <NA> <NA> {who} <NA> <NA>\n")


if __name__ == "__main__":
    main()
