"""A peer that has been started and waits for recordings: the asking side of `peer_loop.py`."""

import json
import os
import select
import subprocess
import time

ANSWER_S_MAX = 4 * 3600
"""Longest wait for one answer, loading included: above what the slowest peer takes for hours of audio."""


class PeerError(Exception):
    """The peer is gone, or does not answer."""


class Peer:
    """One process of a peer, on its processors. Ends with the end of its input."""

    def __init__(self, name, command, cpus, environment, log):
        self.name, self.log = name, log
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus)
        start_s = time.perf_counter()
        try:
            with open(log, "wb") as stderr:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment
                )
        except OSError as error:
            raise PeerError(f"cannot start {name}: {error}") from error
        finally:
            os.sched_setaffinity(0, before)
        self.ready = self._answer()
        self.ready["start_s"] = time.perf_counter() - start_s

    def ask(self, wav, rttm):
        """Diarizes `wav`, writes what it found where `rttm` says; {"seconds", "cpu_s", "peak_bytes"} or {"failure"}."""
        request = json.dumps({"audio": str(wav), "rttm": rttm}) + "\n"
        try:
            self.process.stdin.write(request.encode())
            self.process.stdin.flush()
        except OSError as error:
            raise self._gone() from error
        return self._answer()

    def stop(self):
        """Ends the process: first by the end of its input, then by force."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _answer(self):
        # The pipe is read by hand: select does not see what a buffered reader already holds.
        fd, held, until_s = self.process.stdout.fileno(), b"", time.monotonic() + ANSWER_S_MAX
        while not held.endswith(b"\n"):
            ready, _, _ = select.select([fd], [], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                self.process.kill()
                raise PeerError(f"{self.name} gave no answer in {ANSWER_S_MAX} s")
            piece = os.read(fd, 65536)
            if not piece:
                raise self._gone()
            held += piece
        return json.loads(held)

    def _gone(self):
        status = self.process.wait()
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        return PeerError(f"{self.name} ended with status {status}: {' / '.join(last) or 'it said nothing'}")
