"""The common part of the two peers: a process that loads once, then diarizes one recording after another when asked.

Each line on stdin is a request, `{"audio": WAV, "rttm": {NAME: PATH}}`; each line on the given descriptor is an
answer. The first answer says that the peer is ready, and what getting there took. End of input ends the process, so
it cannot outlive the one who asks.
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "accuracy"))


def peak_bytes():
    """Peak resident memory of this process since it began, or since `forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak():
    """Starts the peak anew from what is resident now; without the right to, the peak stays that of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def cpu_s():
    """Processor seconds of this process, all threads."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def serve(load):
    """Answers requests. `load()` returns (how, details): `how(wav)` gives {name: turns} and is what gets timed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    started_s = time.perf_counter()
    diarize, details = load()
    _say(answers, {"ready_s": time.perf_counter() - started_s, "peak_bytes": peak_bytes(), **details})
    from diarization_error import write_rttm

    for line in sys.stdin:
        request = json.loads(line)
        forget_peak()
        before_cpu_s, before_s = cpu_s(), time.perf_counter()
        try:
            found = diarize(request["audio"])
        except Exception as error:  # any failure of a peer is a row of the table, not the end of the run
            _say(answers, {"failure": f"{type(error).__name__}: {error}"})
            continue
        answer = {
            "seconds": time.perf_counter() - before_s,
            "cpu_s": cpu_s() - before_cpu_s,
            "peak_bytes": peak_bytes(),
        }
        for name, path in request["rttm"].items():
            write_rttm(path, Path(request["audio"]).stem, found[name])
        _say(answers, answer)


def _say(answers, answer):
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
