"""The programs of a fleet that up.sh started: started and stopped here, and asked by the command line."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

# A host name that tries to be markup.
HOST = "<script>window.pwned=1</script><b>host"


def rename(host: str) -> None:
    """Gives this process a host name that is its alone (unshare with CLONE_NEWUTS)."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x04000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(host)


def can_rename() -> bool:
    """Whether a child can do that: a root without the capability cannot."""
    try:
        return subprocess.run(["true"], preexec_fn=lambda: rename(HOST)).returncode == 0
    except subprocess.SubprocessError:
        return False


class Fleet:
    """The programs of a fleet that up.sh started."""

    def __init__(self, bin_folder: Path, folder: Path, tmp: Path):
        self.bin, self.tmp = bin_folder, tmp
        text = (folder / "env").read_text()
        self.env = dict(os.environ)
        for name, value in re.findall(r"^export (\w+)='?([^'\n]*)'?$", text, re.M):
            if name != "PATH":
                self.env[name] = value
        self.url = re.search(r"HTTP API: (\S+)", text).group(1)
        self.children: list[subprocess.Popen] = []

    def start(self, program: str, *arguments: str, host: str | None = None) -> subprocess.Popen:
        log = open(self.tmp / f"{program}-{len(self.children)}.log", "wb")
        child = subprocess.Popen(
            [self.bin / program, *arguments], env=self.env, stdout=log, stderr=log, preexec_fn=(lambda: rename(host)) if host else None
        )
        self.children.append(child)
        return child

    def stop(self, child: subprocess.Popen) -> None:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def say(self, *arguments: str, stdin: str = "") -> str:
        try:
            done = subprocess.run([self.bin / "rollcall", *arguments], env=self.env, input=stdin, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"rollcall {' '.join(arguments)}: no end within {error.timeout} s") from error
        if done.returncode:
            raise RuntimeError(f"rollcall {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def record(self, job: str) -> dict:
        return json.loads(self.say("status", "--json", job))

    def workers(self, count: int) -> None:
        until = time.monotonic() + 60
        while len(json.loads(self.say("workers", "--json"))) != count:
            if time.monotonic() > until:
                raise TimeoutError(f"not {count} workers")


def answers(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > until:
            raise TimeoutError("the server does not listen")
