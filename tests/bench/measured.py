"""Runs a command and measures it: wall time, processor time, peak resident memory, and how busy the machine was.

As a program: `measured.py [--json] -- COMMAND ARG...` runs the command, passes its output through, prints one line on
stderr and exits with the command's status. Linux only; standard library only, so that it is itself small: the peak of
a child is at least what its parent held when it forked.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass


@dataclass
class Measured:
    """What one run of a command took."""

    status: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    others_share: float


def machine_busy_s():
    """Processor seconds that this machine has spent on anything but idling and waiting, since it started."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def others_share(busy_s, own_s, wall_s):
    """Share of the machine's processors that something else used: above a few percent, times are not to be trusted."""
    if wall_s <= 0:
        return 0.0
    return max(0.0, min(1.0, (busy_s - own_s) / (wall_s * (os.cpu_count() or 1))))


def run(command, *, cpus=None, environment=None, stdout=None, stderr=None):
    """Runs `command` to its end on the processors `cpus` (all allowed ones when None) and measures it."""
    before = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        busy_s, start_s = machine_busy_s(), time.perf_counter()
        child = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
    finally:
        os.sched_setaffinity(0, before)
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except KeyboardInterrupt:
        child.kill()
        raise
    wall_s = time.perf_counter() - start_s
    child.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    share = others_share(machine_busy_s() - busy_s, cpu_s, wall_s)
    return Measured(child.returncode, wall_s, cpu_s, usage.ru_maxrss * 1024, share)


def main():
    arguments = sys.argv[1:]
    as_json = arguments[:1] == ["--json"]
    arguments = arguments[1:] if as_json else arguments
    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not arguments:
        sys.exit("usage: measured.py [--json] -- COMMAND ARG...")
    try:
        result = run(arguments)
    except OSError as error:
        sys.exit(f"cannot run `{arguments[0]}`: {error.strerror}")
    if as_json:
        line = json.dumps(asdict(result))
    else:
        line = (
            f"{result.wall_s:.2f} s wall, {result.cpu_s:.2f} s processor, {result.peak_bytes / 2**20:.0f} MiB peak, "
            f"others used {100 * result.others_share:.0f} % of the machine"
        )
    print(line, file=sys.stderr)
    sys.exit(result.status if result.status >= 0 else 128 - result.status)


if __name__ == "__main__":
    main()
