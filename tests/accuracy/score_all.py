#!/usr/bin/env python3
"""Runs a worker over labelled recordings (audio beside .rttm, .uem where only part is scored) and scores it.

usage: score_all.py WORKER FOLDER|AUDIO... [-- WORKER OPTION...]
Examples:
  score_all.py target/release/rollcall-worker ../shared/audio/real -- --num-speakers 2
  score_all.py WORKER FOLDER --against OTHER_WORKER             both workers, DER side by side
  score_all.py WORKER FOLDER --vary batch-rows=1,8,64           the documents must be the same for every value
  score_all.py WORKER FOLDER --vary jobs=1,4
DER has collar 0 and scores overlapped speech. Exit 1 when a recording failed, a limit was passed or documents differ.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from diarization_error import Error, LabelError, read_rttm, read_uem, score
from same_documents import differences

AUDIO_SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".mp4", ".ogg", ".opus", ".webm", ".aiff", ".caf", ".mka")


@dataclass(frozen=True)
class Recording:
    """A recording with its labels."""

    audio: Path
    rttm: Path
    uem: Path | None


@dataclass
class Outcome:
    """What one run of a worker over all recordings gave."""

    label: str
    folder: Path
    wall_s: float = 0.0
    errors: dict[Path, Error] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def total(self):
        return sum(self.errors.values(), Error())


def recordings(places):
    """The labelled recordings in folders, or named one by one; a recording without labels is an error when named."""
    found = []
    for place in places:
        if place.is_dir():
            inside = sorted(p for p in place.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES)
            audio = [p for p in inside if p.with_suffix(".rttm").is_file()]
            if not audio:
                raise SystemExit(f"no labelled recordings in: {place}")
        elif place.is_file() and place.with_suffix(".rttm").is_file():
            audio = [place]
        else:
            raise SystemExit(f"no such recording with an .rttm beside it: {place}")
        for path in audio:
            uem = path.with_suffix(".uem")
            found.append(Recording(path, path.with_suffix(".rttm"), uem if uem.is_file() else None))
    return found


def run_worker(worker, found, options, out, label):
    """Runs `worker` once over all recordings and scores what it wrote under `out`."""
    outcome = Outcome(label, out)
    command = [str(worker), "run", "--json", "--formats", "rttm,json", "--out", str(out), *options, "--"]
    started_s = time.perf_counter()
    try:
        done = subprocess.run(command + [str(r.audio) for r in found], stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise SystemExit(f"cannot run `{worker}`: {error.strerror}") from error
    outcome.wall_s = time.perf_counter() - started_s
    lines = {}
    for text in done.stdout.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        lines[line["audio"]] = line
    for recording in found:
        line = lines.get(str(recording.audio))
        if line is None or not line["ok"]:
            why = line["failure"] if line else f"no line; exit {done.returncode}"
            outcome.failures.append(f"{label}: {recording.audio}: {why}")
            continue
        regions = read_uem(recording.uem) if recording.uem else None
        turns = read_rttm(Path(line["out"]) / "turns.rttm")
        outcome.errors[recording.audio] = score(read_rttm(recording.rttm), turns, regions)
    return outcome


def print_table(found, outcomes):
    """One row a recording: DER and its parts of the first outcome, DER alone of the others."""
    others = "".join(f" {o.label[-14:]:>14}" for o in outcomes[1:])
    print(f"{'DER %':>7} {'miss':>6} {'f.al.':>6} {'conf.':>6} {'spk':>7} {'speech s':>9}{others}  file")
    first = outcomes[0]
    for name, key in [(r.audio.stem, r.audio) for r in found] + [("total", None)]:
        rows = [o.total if key is None else o.errors.get(key) for o in outcomes]
        e = rows[0]
        if e is None or (key is None and not first.errors):
            print(f"{'failed':>7} {'':>37}{'':>{len(others)}}  {name}")
            continue
        speakers = (
            f"{e.speakers_found}/{e.speakers_true}"
            if key is not None
            else f"{sum(x.speakers_found == x.speakers_true for x in first.errors.values())} right"
        )
        parts = [100 * e.share(x) for x in (e.missed_s, e.false_alarm_s, e.confusion_s)]
        rest = "".join(f" {100 * x.rate:14.2f}" if x is not None else f" {'failed':>14}" for x in rows[1:])
        print(
            f"{100 * e.rate:7.2f} {parts[0]:6.2f} {parts[1]:6.2f} {parts[2]:6.2f} {speakers:>7} {e.speech_s:9.1f}"
            f"{rest}  {name}"
        )
    for o in outcomes:
        print(f"{o.label}: {o.wall_s:.1f} s for {len(o.errors)} recording(s)")


def plan(options):
    """(label, worker, options) of each run that was asked for."""
    runs = [(options.worker.name, options.worker, list(options.pass_on))]
    if options.vary:
        flag, _, values = options.vary.partition("=")
        if not values:
            raise SystemExit("--vary wants FLAG=VALUE,VALUE: for example jobs=1,4")
        runs = [
            (f"{flag}={v}", options.worker, [*options.pass_on, f"--{flag}", v]) for v in values.split(",")
        ]
    if options.against:
        runs += [(f"against {label}", options.against, more) for label, _, more in runs]
    return runs


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worker", type=Path, help="rollcall-worker")
    parser.add_argument("places", type=Path, nargs="+", metavar="FOLDER|AUDIO")
    parser.add_argument("--against", type=Path, metavar="WORKER", help="another worker to compare with")
    parser.add_argument("--vary", metavar="FLAG=V,V", help="run once for each value; documents must be the same")
    parser.add_argument("--same", action="store_true", help="documents of --against must be the same, too")
    parser.add_argument("--der-max", type=float, metavar="PERCENT", help="fail when the first run's total is above")
    parser.add_argument("--out", type=Path, help="keep the results here [default: a temporary folder]")
    parser.add_argument("--json", type=Path, help="write all figures here")
    own, pass_on = sys.argv[1:], []
    if "--" in own:
        cut = own.index("--")
        own, pass_on = own[:cut], own[cut + 1 :]
    options = parser.parse_args(own)
    options.pass_on = pass_on
    return options


def figures(outcomes, different):
    """Everything that was measured, for JSON."""
    return {
        "runs": [
            {
                "label": o.label,
                "wall_s": o.wall_s,
                "total": o.total.as_dict(),
                "files": {path.stem: error.as_dict() for path, error in o.errors.items()},
                "failures": o.failures,
            }
            for o in outcomes
        ],
        "documents_differ": different,
    }


def main():
    options = arguments()
    found = recordings(options.places)
    with tempfile.TemporaryDirectory(prefix="score-all-") as scratch:
        out = options.out or Path(scratch)
        outcomes = []
        try:
            for i, (label, worker, more) in enumerate(plan(options)):
                folder = out / f"run-{i + 1}"
                outcomes.append(run_worker(worker, found, more, folder, label))
        except LabelError as error:
            raise SystemExit(str(error)) from error
        print_table(found, outcomes)
        different = []
        first = outcomes[0]
        for other in outcomes[1:]:
            if other.label.startswith("against ") and not options.same:
                continue
            sentences = [f"{first.label} and {other.label}: {s}" for s in differences(first.folder, other.folder)]
            print(f"documents of {first.label} and {other.label}: {'differ' if sentences else 'the same'}")
            different += sentences
    problems = [failure for o in outcomes for failure in o.failures] + different
    if options.der_max is not None and 100 * first.total.rate > options.der_max:
        problems.append(f"total above {options.der_max} %: {100 * first.total.rate:.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures(outcomes, different), indent=2) + "\n", encoding="utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
