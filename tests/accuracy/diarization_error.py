"""Diarization error rate of one set of turns against another; standard library only.

DER = (missed + false alarm + confusion) / reference speech, collar 0, overlapped speech scored, under the one-to-one
mapping of found speakers to true ones that makes confusion least. Time is exact: no frame grid. Without a UEM the
scored region is the extent of reference and hypothesis together.
"""

from dataclasses import dataclass, field
from pathlib import Path


class LabelError(Exception):
    """A label file that cannot be read as what its name says."""


@dataclass(frozen=True)
class Turn:
    """One speaker talking from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    speaker: str


@dataclass
class Error:
    """Seconds of each kind of error, and of reference speech (overlap counts once per speaker)."""

    speech_s: float = 0.0
    missed_s: float = 0.0
    false_alarm_s: float = 0.0
    confusion_s: float = 0.0
    speakers_true: int = 0
    speakers_found: int = 0
    mapping: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self):
        """Errors over reference speech; infinite when there is no speech to find but some was found."""
        wrong = self.missed_s + self.false_alarm_s + self.confusion_s
        if self.speech_s > 0:
            return wrong / self.speech_s
        return float("inf") if wrong > 0 else 0.0

    def share(self, seconds):
        """`seconds` as a share of reference speech; 0 where there is none."""
        return seconds / self.speech_s if self.speech_s > 0 else 0.0

    def __add__(self, other):
        """Seconds add up; the mapping of a total means nothing and is left out."""
        return Error(
            self.speech_s + other.speech_s,
            self.missed_s + other.missed_s,
            self.false_alarm_s + other.false_alarm_s,
            self.confusion_s + other.confusion_s,
            self.speakers_true + other.speakers_true,
            self.speakers_found + other.speakers_found,
        )

    def as_dict(self):
        """For JSON; the rate is null where it is infinite."""
        rate = self.rate
        return {
            "der": None if rate == float("inf") else rate,
            "speech_s": self.speech_s,
            "missed_s": self.missed_s,
            "false_alarm_s": self.false_alarm_s,
            "confusion_s": self.confusion_s,
            "speakers_true": self.speakers_true,
            "speakers_found": self.speakers_found,
        }


def read_rttm(path):
    """The turns of an RTTM file; lines other than SPEAKER are skipped, turns without length too."""
    turns = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start_s, length_s, speaker = float(fields[3]), float(fields[4]), fields[7]
        except (IndexError, ValueError) as error:
            raise LabelError(f"not a SPEAKER line of RTTM: {path}:{number}") from error
        if length_s > 0:
            turns.append(Turn(start_s, start_s + length_s, speaker))
    return turns


def read_uem(path):
    """The scored regions of a UEM file: a list of (start, end) in seconds."""
    regions = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith(";"):
            continue
        fields = line.split()
        try:
            regions.append((float(fields[2]), float(fields[3])))
        except (IndexError, ValueError) as error:
            raise LabelError(f"not a line of UEM: {path}:{number}") from error
    return regions


def write_rttm(path, name, turns):
    """Writes turns as an RTTM file, to the millisecond."""
    lines = [
        f"SPEAKER {name} 1 {t.start_s:.3f} {t.end_s - t.start_s:.3f} <NA> <NA> {t.speaker} <NA> <NA>\n" for t in turns
    ]
    Path(path).write_text("".join(lines), encoding="utf-8")


def score(reference, hypothesis, regions=None):
    """The [`Error`] of `hypothesis` against `reference`, inside `regions` when given."""
    if regions is None:
        turns = reference + hypothesis
        regions = [(min(t.start_s for t in turns), max(t.end_s for t in turns))] if turns else []
    pieces = list(_pieces(reference, hypothesis, regions))
    together = {}
    for length_s, true, found in pieces:
        for r in true:
            for h in found:
                together[r, h] = together.get((r, h), 0.0) + length_s
    mapping = best_mapping(together)
    error = Error(
        speakers_true=len({t.speaker for t in reference}),
        speakers_found=len({t.speaker for t in hypothesis}),
        mapping=mapping,
    )
    for length_s, true, found in pieces:
        right = sum(1 for r in true if mapping.get(r) in found)
        error.speech_s += length_s * len(true)
        error.missed_s += length_s * max(0, len(true) - len(found))
        error.false_alarm_s += length_s * max(0, len(found) - len(true))
        error.confusion_s += length_s * (min(len(true), len(found)) - right)
    return error


def _pieces(reference, hypothesis, regions):
    """Stretches in which nobody starts or stops: (length in seconds, true speakers, found speakers)."""
    changes = []
    for kind, intervals in (
        (0, [(t.start_s, t.end_s, t.speaker) for t in reference]),
        (1, [(t.start_s, t.end_s, t.speaker) for t in hypothesis]),
        (2, [(start_s, end_s, "") for start_s, end_s in regions]),
    ):
        for start_s, end_s, who in intervals:
            changes += [(start_s, kind, who, 1), (end_s, kind, who, -1)]
    changes.sort(key=lambda change: change[0])
    # The same speaker may have turns that overlap each other, so starts are counted.
    on = ({}, {}, {})
    before_s = None
    for time_s, kind, who, step in changes:
        if before_s is not None and time_s > before_s and on[2]:
            yield time_s - before_s, set(on[0]), set(on[1])
        before_s = time_s
        count = on[kind].get(who, 0) + step
        if count:
            on[kind][who] = count
        else:
            on[kind].pop(who, None)


def best_mapping(together):
    """One-to-one mapping with the greatest sum of `together[(row, column)]`, as {row: column}.

    Grows the matching by one pair at a time along the alternating path that gains most (found as Bellman and Ford
    do), which keeps it the best of its size; stops when no path gains.
    """
    rows = sorted({r for r, _ in together})
    columns = sorted({c for _, c in together})
    row_of = {}
    while True:
        taken = set(row_of.values())
        gain = {r: 0.0 for r in rows if r not in taken}
        reached, came_from = {}, {}
        for _ in range(len(rows)):
            moved = False
            for r, g in list(gain.items()):
                for c in columns:
                    weight = together.get((r, c), 0.0)
                    if row_of.get(c) == r or g + weight <= reached.get(c, float("-inf")) + 1e-12:
                        continue
                    reached[c], came_from[c], moved = g + weight, r, True
                    if c in row_of:
                        gain[row_of[c]] = reached[c] - together.get((row_of[c], c), 0.0)
            if not moved:
                break
        ends = {c: g for c, g in reached.items() if c not in row_of}
        if not ends or max(ends.values()) <= 1e-12:
            return {r: c for c, r in row_of.items() if together.get((r, c), 0.0) > 0}
        column = max(ends, key=ends.get)
        column_of = {r: c for c, r in row_of.items()}
        while column is not None:
            row = came_from[column]
            row_of[column], column = row, column_of.get(row)
