#!/usr/bin/env python3
"""Whether two result folders (or two segments.json) say the same, byte for byte, but for job, timing, device and URI.

usage: same_documents.py A B [--with-embeddings]
Folders are compared document by document, by the name of the folder that holds each; turns.rttm must be the same
too. Exit 0 when all agree, 1 when something differs or is on one side only, 2 on a usage error.
"""

import argparse
import json
import sys
from pathlib import Path

NOT_COMPARED = ("job", "timing", "device")


def comparable(path):
    """The document as text without what a repetition may change; key order and number spelling are kept."""
    document = json.loads(path.read_text(encoding="utf-8"), parse_float=_Spelled, parse_int=_Spelled)
    for key in NOT_COMPARED:
        document.pop(key, None)
    if isinstance(document.get("audio"), dict):
        document["audio"].pop("uri", None)
    return json.dumps(document, indent=1, default=str)


class _Spelled:
    """A number as it was written: 1.0 and 1.00 are not the same bytes."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return f"number {self.text}"


def documents(place):
    """{name: segments.json} of a result folder; a file stands for itself."""
    if place.is_file():
        return {"": place}
    return {str(p.parent.relative_to(place)): p for p in sorted(place.rglob("segments.json"))}


def differences(a, b, with_embeddings=False):
    """Sentences, one for each thing that differs between result folders (or documents) `a` and `b`."""
    of_a, of_b = documents(a), documents(b)
    if not of_a and not of_b:
        return [f"no segments.json in either: {a}, {b}"]
    found = [f"only in {a}: {name}" for name in of_a.keys() - of_b.keys()]
    found += [f"only in {b}: {name}" for name in of_b.keys() - of_a.keys()]
    for name in sorted(of_a.keys() & of_b.keys()):
        left, right = comparable(of_a[name]).splitlines(), comparable(of_b[name]).splitlines()
        if left != right:
            line = next((i for i, pair in enumerate(zip(left, right)) if pair[0] != pair[1]), min(len(left), len(right)))
            one, other = (side[line].strip() if line < len(side) else "(end)" for side in (left, right))
            found.append(f"segments.json differs: {name or of_a[name]}: {one} / {other}")
        if a.is_dir():
            besides = ["turns.rttm"] + (["embeddings.npy"] if with_embeddings else [])
            found += [f"{x} differs: {name}" for x in besides if _bytes(a / name / x) != _bytes(b / name / x)]
    return found


def _bytes(path):
    return path.read_bytes() if path.is_file() else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--with-embeddings", action="store_true", help="embeddings.npy must be the same too")
    options = parser.parse_args()
    for place in (options.a, options.b):
        if not place.exists():
            parser.error(f"nothing there: {place}")
    if options.a.is_dir() != options.b.is_dir():
        parser.error("give two folders or two documents")
    found = differences(options.a, options.b, options.with_embeddings)
    for sentence in found:
        print(sentence)
    if not found:
        print(f"same: {len(documents(options.a))} document(s)")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
