"""senko as a peer, as it runs on a CPU: silero voice activity, its own settings. Argument: the number of threads.

It is warmed up the way it does by default (CAM++ on noise, and its clustering, which compiles itself on first use).
Its merged segments are its result (`turns`); its raw ones are scored besides (`raw`).
"""

import contextlib
import sys
import time

import peer_loop

SECONDS = {}


@contextlib.contextmanager
def noted(description, *_):
    """Stands in for senko's own stopwatch, and keeps what it would have printed."""
    started_s = time.perf_counter()
    yield
    SECONDS[description.strip(" .")] = time.perf_counter() - started_s


def load():
    """A warmed-up diarizer."""
    threads = int(sys.argv[1])
    started_s = time.perf_counter()
    import senko
    import senko.diarizer
    import torch
    from diarization_error import Turn

    imported_s = time.perf_counter() - started_s
    senko.diarizer.timed_operation = noted
    diarizer = senko.Diarizer(device="cpu", quiet=True)
    torch.set_num_threads(threads)  # senko takes as many as the machine has cores

    def turns(segments):
        return [Turn(s["start"], s["end"], s["speaker"]) for s in segments]

    def diarize(wav):
        result = diarizer.diarize(wav)
        if result is None:
            return {"turns": [], "raw": []}
        return {"turns": turns(result["merged_segments"]), "raw": turns(result["raw_segments"])}

    warmed_s = sum(s for what, s in SECONDS.items() if what.lower().startswith("warming"))
    return diarize, {"import_s": imported_s, "warm_up_s": warmed_s, "threads": torch.get_num_threads()}


peer_loop.serve(load)
