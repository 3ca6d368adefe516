#!/usr/bin/env python3
"""Inputs that fuzzing starts from: what our tests read, and beginnings of the labelled format files where there are any.

usage: seeds.py OUT_FOLDER [SHARED_FOLDER]
"""

import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD_BYTES = 24_000


def main() -> None:
    out, shared = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT.parent / "shared"
    for target in ("audio", "transcript", "rttm", "checkpoint"):
        (out / target).mkdir(parents=True, exist_ok=True)

    def keep(target: str, name: str, content: bytes) -> None:
        (out / target / name).write_bytes(content)

    for path in sorted((ROOT / "worker/src/audio/tests").glob("*.aac")):
        keep("audio", path.name, path.read_bytes())
    sample = (ROOT / "tests/audio/sample.wav").read_bytes()
    keep("audio", "sample.wav", sample[:HEAD_BYTES])
    formats = shared / "audio/formats"
    for path in sorted(formats.glob("*/*")) if formats.is_dir() else []:
        if path.is_file():
            content = path.read_bytes()
            keep("audio", path.name, content[:HEAD_BYTES])
            # The index of many containers lies at the end.
            if len(content) > HEAD_BYTES and path.suffix in (".m4a", ".mp4", ".mov", ".caf"):
                keep("audio", "end-" + path.name, content[: HEAD_BYTES // 2] + content[-HEAD_BYTES // 2 :])
    golden = ROOT / "common/src/speech/transcript/golden"
    for path in sorted(golden.iterdir()):
        if path.suffix != ".segments":
            keep("transcript", path.name, path.read_bytes())
    rttm = (ROOT / "tests/audio/sample.rttm").read_bytes()
    keep("rttm", "sample.rttm", rttm)
    keep("rttm", "sample.uem", b"sample 1 0.0 12.5\nsample NA 20 47.0\n;; a comment\n")
    keep("checkpoint", "tensor.pkl", pickle() + struct.pack("<6f", *range(6)) * 2)


def pickle() -> bytes:
    """One tensor of six floats, as PyTorch describes it, followed by so many bytes of storage that it is a quarter."""

    def text(word: str) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x06tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x06\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}(" + text("t") + rebuilt + b"u."


if __name__ == "__main__":
    main()
