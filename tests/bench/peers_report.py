"""The table and the JSON of a comparison with peers."""

import json
import os
from statistics import median

NOISY_SHARE = 0.10
"""Above this share of the machine used by others, a time is not worth reporting."""


def save(report, path):
    """Writes the report whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _system(file, who):
    system = file["systems"].get(who)
    return system if system and "failure" not in system else None


def _der(system):
    if not system or "error" not in system:
        return "-"
    der = system["error"]["der"]
    return "inf" if der is None else f"{100 * der:.1f}"


def _speed(system, length_s):
    if not system:
        return ["failed", "", ""]
    return [f"{system['seconds']:.2f}", f"{length_s / system['seconds']:.0f}x", _der(system)]


def ratios(report, who):
    """(by engine time, by whole process) of one peer, file by file; None where either failed."""
    found = []
    for file in report["files"]:
        ours, peer = _system(file, "rollcall"), _system(file, who)
        if ours and peer:
            found.append((peer["seconds"] / ours["seconds"], peer["seconds"] / ours["wall_s"]))
        else:
            found.append(None)
    return found


def _total_der(report, who):
    """Error over all labelled recordings, only where every system has them."""
    wrong = speech = 0.0
    for file in report["files"]:
        errors = [s.get("error") for s in file["systems"].values()]
        if not all(errors):
            continue
        e = file["systems"][who]["error"]
        wrong += e["missed_s"] + e["false_alarm_s"] + e["confusion_s"]
        speech += e["speech_s"]
    return f"{100 * wrong / speech:.1f}" if speech else "-"


def _aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def table(report):
    """All that a person wants to see, as text."""
    peers = list(report["peers"])
    shown = {name: "sherpa-onnx" if name == "sherpa" else name for name in peers}
    head = ["file", "length s", "rollcall s", "xRT", "DER %", "whole s"]
    for name in peers:
        head += [f"{shown[name]} s", "xRT", "DER %"]
    for name in peers:
        head += [f"{shown[name]}/rollcall", "by whole"]
    by_peer = {name: ratios(report, name) for name in peers}
    rows = [head]
    for i, file in enumerate(report["files"]):
        ours = _system(file, "rollcall")
        row = [file["file"], f"{file['length_s']:.1f}", *_speed(ours, file["length_s"])]
        row.append(f"{ours['wall_s']:.2f}" if ours else "")
        for name in peers:
            row += _speed(_system(file, name), file["length_s"])
        for name in peers:
            ratio = by_peer[name][i]
            row += [f"{ratio[0]:.2f}", f"{ratio[1]:.2f}"] if ratio else ["", ""]
        rows.append(row)
    last = ["median of ratios, total DER", "", "", "", _total_der(report, "rollcall"), ""]
    for name in peers:
        last += ["", "", _total_der(report, name)]
    for name in peers:
        good = [r for r in by_peer[name] if r]
        last += [f"{median(r[k] for r in good):.2f}" for k in (0, 1)] if good else ["", ""]
    rows.append(last)
    return "\n".join([*_aligned(rows), "", *_memory(report, shown), "", *_notes(report, shown)])


def _memory(report, shown):
    """Peak resident memory and speakers found, a row a recording."""
    everyone = {"rollcall": "rollcall", **shown}
    head = ["file", *[f"{name} MiB" for name in everyone.values()], *[f"{name} speakers" for name in everyone.values()], "true", "others %"]
    rows = [head]
    for file in report["files"]:
        systems = [_system(file, who) for who in everyone]
        row = [file["file"]] + [f"{s['peak_bytes'] / 2**20:.0f}" if s else "" for s in systems]
        row += [str(s["error"]["speakers_found"]) if s and "error" in s else "-" for s in systems]
        true = next((s["error"]["speakers_true"] for s in systems if s and "error" in s), "-")
        noise = max((s["others_share"] for s in systems if s), default=0.0)
        rows.append([*row, str(true), f"{100 * noise:.0f}"])
    return _aligned(rows)


def _notes(report, shown):
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, medians of {report['repeat']}; "
        f"load before {machine['load_before'][0]:.1f}"
    ]
    for name, ready in report["peers"].items():
        lines.append(
            f"{shown[name]}: {ready['start_s']:.1f} s from process start to ready, of it import {ready['import_s']:.1f}, "
            f"warm-up {ready['warm_up_s']:.1f}; not in the times above"
        )
    lines.append(
        "rollcall s: the engine's own total, decoding included, networks loaded (like the peers); whole s: process "
        "start to files written, loading included"
    )
    systems = [s for f in report["files"] for s in f["systems"].values()]
    raw = [s for s in systems if "error_raw" in s]
    if raw:
        wrong = sum(s["error_raw"][k] for s in raw for k in ("missed_s", "false_alarm_s", "confusion_s"))
        speech = sum(s["error_raw"]["speech_s"] for s in raw)
        if speech:
            lines.append(f"senko's raw segments instead of its merged ones: DER {100 * wrong / speech:.1f} %")
    lines += [f"failed: {s['failure']}" for s in systems if "failure" in s]
    noise = max((s.get("others_share", 0.0) for s in systems), default=0.0)
    if noise > NOISY_SHARE:
        lines.append(f"WARNING: others used up to {100 * noise:.0f} % of the machine meanwhile: do not report these times")
    return lines
