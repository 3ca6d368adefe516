#!/usr/bin/env python3
"""Uses the dashboard of a running fleet in headless Chromium, at 1280 and 390 pixels, light and dark.

usage: dashboard.py --bin FOLDER --fleet FOLDER --tmp FOLDER [--shots FOLDER] [--jobs N]    FLEET is up.sh's, without workers

Submits by the file button and by drop, watches jobs complete, opens their pages, requeues and cancels, filters and turns
pages, by pointer and by keyboard alone; compares each number with `rollcall queue --json` while the fleet stands still in
the middle of a run of N jobs; loses the server, Redis and the key. Fails (exit 1) at an error in the console, a request
that leaves the origin, a key in an address, text of others that became markup, poor contrast, something out of the
window, a control without a name.
"""

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path

from dashboard_page import GRAPHICS, Dashboard
from timeline import CONTRAST, OUTSIDE, SCHEMES, SIZES, SMALL, Checks

HOSTILE = '<img src=x onerror=window.pwned=1>"&\'{{data}} \u0645\u0631\u062d\u0628\u0627 \u202egpj'
HOSTILE_SHOWN = '<img src=x onerror=window.pwned=1>"&\'{{data}} \u0645\u0631\u062d\u0628\u0627 \u00b7gpj'
HOST = "<script>window.pwned=1</script><b>host"
ALWAYS = ["high", "normal", "low"]


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
        done = subprocess.run([self.bin / "rollcall", *arguments], env=self.env, input=stdin, capture_output=True, text=True, timeout=120)
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


def cut(source: Path, to: Path, seconds: float) -> Path:
    """The first seconds of a WAV file: content of its own, so that no result is known yet."""
    with wave.open(str(source)) as given, wave.open(str(to), "wb") as made:
        made.setparams(given.getparams())
        made.writeframes(given.readframes(int(seconds * given.getframerate())))
    return to


def number(value) -> str:
    """As the page writes numbers."""
    if value is None:
        return "\u2013"
    text = f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return text


def length(seconds) -> str:
    if seconds is None:
        return "\u2013"
    if seconds < 60:
        return f"{number(int(seconds * 10 + 0.5) / 10)} s"
    whole = int(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = int(whole / 60 + 0.5)
    if minutes < 1440:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = int(minutes / 60 + 0.5)
    return f"{number(hours // 24)} d {hours % 24} h"


def expected(queue: dict) -> dict:
    """Each number of the page, from the command line's document: the value and whether it goes on with time alone."""
    total = {state: sum(queue["depth"][lane][state] for lane in ALWAYS) for state in ("ready", "running")}
    facts = {f"depth.{lane}.{state}": (count, False) for lane in ALWAYS for state, count in queue["depth"][lane].items()}
    facts |= {name: (count, False) for name, count in total.items()}
    for name in ("audio_hours_waiting", "outbox", "dead"):
        facts[name] = (queue[name], False)
    facts["workers.alive"] = (queue["workers"]["alive"], False)
    facts["workers.wanted"] = (queue["workers"]["wanted"], True)
    facts |= {name: (queue[name], True) for name in ("drain_s", "oldest_s")}
    facts |= {f"rates.{name}": (rate, True) for name, rate in queue["rates"].items()}
    return facts


def shown(name: str, value) -> str:
    if name == "drain_s":
        return "empty" if value == 0 else length(value)
    if name == "oldest_s":
        return length(value)
    unit = {"audio_hours_waiting": " h", "rates.arrived_per_s": " /s", "rates.completed_per_s": " /s", "rates.audio_s_per_s": " s/s"}
    return number(value) + unit.get(name, "")


def compare(page: Dashboard, fleet: Fleet, checks: Checks) -> int:
    """The page's numbers against the command line's, while nothing moves but time. Returns how many were equal."""
    for attempt in range(5):
        before = page.next_look()
        queue = json.loads(fleet.say("queue", "--json"))
        after = page.next_look()
        wrong, equal = [], 0
        wanted = expected(queue)
        if set(wanted) != set(after["facts"]):
            wrong.append(f"other numbers: {set(wanted) ^ set(after['facts'])}")
        for name, (value, moves) in wanted.items():
            (first, _), (last, text) = before["facts"].get(name, (None, "")), after["facts"].get(name, (None, ""))
            if moves and None not in (first, last, value):
                holds = min(first, last) - 1e-9 <= value <= max(first, last) + 1e-9
            else:
                holds = first == value == last
            if not holds or text != shown(name, last):
                wrong.append(f"{name}: page {first}, {last} ({text!r}), command line {value}")
            equal += holds
        # What is counted in ten-second buckets may pass a border between two looks: look again.
        if not wrong:
            break
    checks.that(not wrong, f"numbers differ in each of {attempt + 1} looks: {wrong}")
    return equal


def look(page: Dashboard, checks: Checks, where: str) -> None:
    """What holds of every view."""
    wide, window = page.run("[document.documentElement.scrollWidth, innerWidth]")
    checks.that(wide <= window, f"{where}: {wide} pixels wide in a window of {window}")
    scripts = (("outside of the window", OUTSIDE), ("too small to hit", SMALL), ("too little contrast", CONTRAST), ("faint graphics", GRAPHICS))
    for name, script in scripts:
        found = page.run(script)
        checks.that(not found, f"{where}: {name}: {found}")
    strange = "document.querySelectorAll('main img, object, embed, [onerror], [onclick], [onload], [style*=url]').length"
    checks.that(page.run(strange) == 0 and page.run("window.pwned") is None, f"{where}: elements that the page never makes")
    checks.that(page.run("document.scripts.length") == 1, f"{where}: scripts that are not the page's")
    nodes = page.nodes()
    roles = ("button", "link", "slider", "textbox", "combobox", "spinbutton", "searchbox", "table", "region", "progressbar", "iframe", "heading", "columnheader")
    nameless = [node["role"] for node in nodes if node["role"] in roles and not node["name"].strip()]
    checks.that(not nameless, f"{where}: without a name for a screen reader: {nameless}")
    landmarks = {node["role"] for node in nodes}
    # An open dialog is all there is.
    checks.that("dialog" in landmarks or {"main", "banner", "contentinfo"} <= landmarks, f"{where}: landmarks missing: {landmarks}")


def clean(page: Dashboard, checks: Checks, origin: str, allowed: str = "^$") -> None:
    beyond = [url[:120] for url in page.requests if not url.startswith((origin + "/", "data:", f"blob:{origin}/", "about:"))]
    checks.that(not beyond, f"left the origin: {beyond}")
    troubles = [trouble for trouble in page.troubles if not re.search(allowed, trouble)]
    checks.that(not troubles, f"console: {troubles[:4]}")
    checks.that(not [url for url in page.requests if "rk_" in url], "a key in an address")
    page.troubles.clear()
    page.requests.clear()


def row_of(name: str) -> str:
    return f"#jobs-table tbody tr:has(a[href='#/jobs/{name}'])"


def letter_of(name: str) -> str:
    return f"#dead-table tbody tr:has(a[href='#/jobs/{name}'])"


def submitted(page: Dashboard, count: int) -> list[str]:
    """The newest jobs that the page says it submitted."""
    page.wait_for(f"document.querySelectorAll('#uploads li.done a').length >= {count}", 60)
    return page.run(f"[...document.querySelectorAll('#uploads li.done a')].slice(0, {count}).map((a) => a.hash.split('/').pop())")


def tried_again(page: Dashboard, fleet: Fleet, checks: Checks, letter: str) -> None:
    """Requeues a dead letter in sight by its own button. What happens to the job counts: what is said may be followed at once."""
    token = fleet.record(letter)["token"]
    page.press_on(f"{letter_of(letter)} button:not([hidden])")
    until = time.monotonic() + 30
    while fleet.record(letter)["token"] == token and time.monotonic() < until:
        page.settle()
    checks.that(fleet.record(letter)["token"] > token, "the dead letter was not tried again")


def path(page: Dashboard, fleet: Fleet, checks: Checks, files: dict[str, Path], shots: Path | None, mark: str) -> None:
    """The whole way of somebody with a pointer: submit, watch, open, requeue, cancel, filter."""
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    checks.that(page.seen("#fleet") and not page.seen("#job"), "the fleet is not shown first")

    page.select("#wish-priority", "high")
    page.type("#wish-tag", f"way={mark}")
    page.press_on("#choose")
    page.answer_dialog([files["sound"]])
    job = submitted(page, 1)[0]
    page.wait_for(f"document.querySelector({json.dumps(row_of(job))}) !== null")
    record = fleet.record(job)
    checks.that((record["priority"], record["tags"]["way"]) == ("high", mark), f"wishes are lost: {record}")
    page.wait_for(f"document.querySelector({json.dumps(row_of(job))}).dataset.state === 'completed'", 120)
    checks.that("completed" in page.text(row_of(job)), "completion is not shown")
    look(page, checks, "fleet")

    page.press_on(f"{row_of(job)} a")
    page.wait_for(f"document.getElementById('job-name').textContent === {json.dumps(files['sound'].name)} && document.activeElement.id === 'job-name'")
    page.wait_for("document.querySelector('#timeline iframe') && document.getElementById('timeline-note').hidden")
    page.wait_in_frame("document.querySelectorAll('#labels button').length > 0")
    checks.that(page.in_frame("document.querySelector('h1').textContent") == files["sound"].name, "the timeline has another's name")
    checks.that(page.in_frame("self.origin") == "null", "the timeline has an origin")
    walls = "(() => { const tried = [() => parent.document.body, () => sessionStorage.length, () => document.cookie, () => top.location.href]; return tried.filter((t) => { try { t(); return true; } catch { return false; } }).length; })()"
    checks.that(page.in_frame(walls) == 0, "the timeline reaches beyond its frame")
    page.wait_for("document.querySelector('#sound audio') && document.querySelector('#sound audio').readyState >= 1")
    checks.that(page.run("document.querySelectorAll('#downloads a').length") == 6, "downloads are missing")
    for form in ("json", "rttm", "srt", "vtt", "txt", "html"):
        status = page.run(f"fetch(document.querySelector('#downloads [data-format={form}]').href).then((a) => a.status)")
        checks.that(status == 200, f"no {form}: {status}")
    page.run("document.querySelector('#record-facts').closest('section').querySelector('details').open = true")
    checks.that(json.loads(page.text("#record-json")) == fleet.record(job), "the record is another one")
    page.run("document.querySelector('#record-facts').closest('section').querySelector('details').open = false")
    look(page, checks, "job")
    if shots:
        page.run("scrollTo(0, 0)")
        page.shoot(shots / f"job-{mark}.png", whole=True)
    page.press_on(".back a")
    page.wait_for("!document.getElementById('fleet').hidden && document.getElementById('link').dataset.state === 'live'")

    page.type("#wish-tag", f"way=broken{mark}")
    page.drop("#drop", [files["broken"], files["noise"]])
    letter, other = submitted(page, 3)[:2]
    for name in (letter, other):
        page.wait_for(f"document.querySelector({json.dumps(letter_of(name))}) !== null", 60)
    told = page.text(letter_of(letter))
    checks.that("audio_" in told, f"no code of the failure: {told}")
    page.run("document.getElementById('live').textContent = ''")
    tried_again(page, fleet, checks, letter)
    page.wait_for("/ is [a-z]+ again/.test(document.getElementById('live').textContent)")

    later = fleet.say("submit", "--delay", "1h", "--tag", f"way=later{mark}", str(files["sound"]), "--no-cache").strip()
    page.wait_for(f"document.querySelector({json.dumps(row_of(later))}) !== null")
    page.press_on(f"{row_of(later)} button:not([hidden])")
    page.wait_for(f"document.querySelector({json.dumps(row_of(later))}).dataset.state === 'cancelled'")
    checks.that(fleet.record(later)["state"] == "cancelled", "it is not cancelled")

    page.select("#filter-state", "cancelled")
    page.wait_for("[...document.querySelectorAll('#jobs-table tbody tr')].every((r) => r.dataset.state === 'cancelled')")
    page.type("#filter-tag", f"way=later{mark}")
    page.wait_for("document.querySelectorAll('#jobs-table tbody tr').length === 1")
    checks.that(page.seen(row_of(later)), "the filter shows another job")
    page.type("#filter-tag", "way=nobody")
    page.wait_for("!document.getElementById('jobs-note').hidden")
    checks.that("No job passes" in page.text("#jobs-note"), "an empty list is not explained")
    clean(page, checks, fleet.url)


def by_keyboard(page: Dashboard, fleet: Fleet, checks: Checks, files: dict[str, Path]) -> None:
    """The same way without a pointer."""
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live' && document.querySelectorAll('#dead-table tbody tr').length > 0")
    checks.that(page.tab_to("#skip", 3), "the first stop is not the way to the content")
    page.press("Enter")
    checks.that(page.run("document.activeElement.id") == "main", "the way to the content leads elsewhere")
    checks.that(page.tab_to("#plot"), "the chart is not reached, or the focus is not seen")
    page.press("End")
    last = page.run("document.getElementById('plot').getAttribute('aria-valuetext')")
    page.press("ArrowLeft")
    checks.that(page.run("document.getElementById('plot').getAttribute('aria-valuetext')") != last and "ready high" in last, f"the chart tells nothing: {last}")
    checks.that(page.seen("#tip"), "no readout")
    page.press("Escape")
    checks.that(page.tab_to("#chart-table summary"), "the chart's table is not reached")
    page.press("Enter")
    checks.that(page.run("document.querySelectorAll('#chart-table tbody tr').length") > 0, "the chart has no table")
    page.press("Enter")
    checks.that(page.tab_to("#choose"), "submitting is not reached")
    page.press("Enter")
    page.answer_dialog([files["keyboard"]])
    job = submitted(page, 1)[0]
    checks.that(page.tab_to("#uploads a"), "the new job is not reached")
    page.press("Enter")
    page.wait_for("document.activeElement.id === 'job-name' && document.getElementById('job-state').textContent === 'completed'", 120)
    checks.that(page.tab_to("#downloads a"), "downloads are not reached")
    checks.that(page.run("location.hash") == f"#/jobs/{job}", "another job's page")
    page.go(fleet.url + "/")
    page.wait_for("document.querySelectorAll('#dead-table tbody tr').length > 0")
    checks.that(page.tab_to("#filter-state"), "the filter is not reached")
    page.press("d", "d")
    page.wait_for("document.getElementById('filter-state').value === 'discarded'")
    checks.that(page.tab_to("#dead-table tbody button"), "requeueing is not reached")
    page.press("Enter")
    page.wait_for("/ is [a-z]+ again/.test(document.getElementById('live').textContent)")
    checks.that(page.run("document.activeElement !== document.body"), "the focus is lost with the button")
    clean(page, checks, fleet.url)


def wishes(page: Dashboard, fleet: Fleet, checks: Checks, files: dict[str, Path]) -> None:
    """What is dropped goes where it falls, and a transcript with one recording only."""
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    page.drop("#wish-tag", text="way=dragged")
    checks.that(page.run("document.getElementById('wish-tag').value") == "way=dragged", "text cannot be dropped into a field")
    chosen = "document.getElementById('wish-transcript').files.length"
    page.drop("#wish-transcript", [files["transcript"]])
    page.wait_for(f"{chosen} === 1")
    checks.that(page.run("document.querySelectorAll('#uploads li').length") == 0, "a transcript is taken for a recording")
    page.press_on("#choose")
    page.answer_dialog([files["one"]])
    record = fleet.record(submitted(page, 1)[0])
    checks.that(record["options"]["transcript"] is not None and record["tags"]["way"] == "dragged", f"wishes are lost: {record}")
    checks.that(page.run(chosen) == 0, "the transcript stays for the next recording")
    page.drop("#drop", [files["two"]])
    record = fleet.record(submitted(page, 2)[0])
    checks.that(record["options"]["transcript"] is None, "the transcript goes with another recording")
    page.drop("#drop", [files["folder"]])
    page.wait_for("!document.getElementById('notice').hidden")
    checks.that("Folders" in page.text("#notice") and page.run("document.querySelectorAll('#uploads li').length") == 2, f"a folder is taken: {page.text('#notice')}")
    checks.that(not asks_to_stay(page), "the page is held back though nothing is sent")
    clean(page, checks, fleet.url)


def asks_to_stay(page: Dashboard) -> bool:
    return page.run("(() => { const leaving = new Event('beforeunload', { cancelable: true }); dispatchEvent(leaving); return leaving.defaultPrevented; })()")


def still(page: Dashboard, fleet: Fleet, checks: Checks, files: dict[str, Path]) -> None:
    """What somebody looks at stays: rows under the pointer, a job's page while its tab is away, the focus."""
    later = [fleet.say("submit", "--delay", "1h", "--no-cache", str(files["sound"])).strip()]
    page.go(fleet.url + "/")
    page.wait_for(f"document.getElementById('link').dataset.state === 'live' && document.querySelector({json.dumps(row_of(later[0]))}) !== null")
    page.run(f"document.querySelector({json.dumps(row_of(later[0]))}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y = page.run(f"(() => {{ const b = document.querySelector({json.dumps(row_of(later[0]))}).getBoundingClientRect(); return [b.left + 30, b.top + b.height / 2]; }})()")
    under = f"document.elementFromPoint({x}, {y}).closest('tr') === document.querySelector({json.dumps(row_of(later[0]))})"
    page.hover(x, y)
    later.append(fleet.say("submit", "--delay", "1h", "--no-cache", str(files["sound"])).strip())
    for _ in range(3):
        page.next_look()
        page.hover(x + 1, y)
        page.hover(x, y)
    checks.that(page.run(under) and not page.seen(row_of(later[1])), "rows move under the pointer")
    page.hover(4, 4)
    page.wait_for(f"document.querySelector({json.dumps(row_of(later[1]))}) !== null", 5)

    page.run(f"location.hash = '#/jobs/{later[0]}'")
    page.wait_for("document.getElementById('link').dataset.state === 'live' && !document.getElementById('job-body').hidden")
    page.hurry(60000)
    page.run("document.getElementById('job-cancel').focus(); window.kept = [...document.querySelectorAll('#record-facts > div')]")
    page.hide(True)
    page.wait_for("document.getElementById('link').dataset.state === 'waiting' && window.hurried === 1")
    page.hide(False)
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    kept = "window.kept.length > 0 && window.kept.every((e) => e.isConnected) && !document.getElementById('job-body').hidden"
    checks.that(page.run(kept) and page.run("document.activeElement.id") == "job-cancel", "a job's page is torn down while its tab is away")
    page.press("Enter")
    page.wait_for("document.getElementById('job-state').textContent === 'cancelled' && document.activeElement.id === 'job-name'")
    page.wait_for("document.querySelector('#link span').textContent === 'Final'")
    done = fleet.say("submit", str(files["sound"]), "--wait").strip().split()[0]
    page.run(f"location.hash = '#/jobs/{done}'")
    page.wait_for("document.querySelector('#timeline iframe') && document.getElementById('timeline-note').hidden && document.querySelector('#link span').textContent === 'Final'")
    page.run("window.kept = [...document.querySelectorAll('#timeline iframe, #sound > *, #downloads > *')]")
    page.hide(True)
    page.wait_for("window.hurried === 2")
    checks.that(page.text("#link") == "Final", "a page without a stream rests")
    page.hide(False)
    page.settle()
    checks.that(page.run(kept) and page.text("#link") == "Final", "a finished job's page is torn down while its tab is away")
    fleet.say("cancel", later[1])
    clean(page, checks, fleet.url)


def hostile(page: Dashboard, fleet: Fleet, checks: Checks, files: dict[str, Path], shots: Path | None) -> None:
    """Names, tags and failures that try to be markup are text wherever they stand."""
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    page.type("#wish-tag", f"{HOSTILE}={HOSTILE}")
    page.press_on("#choose")
    page.answer_dialog([files["hostile"]])
    job = submitted(page, 1)[0]
    page.wait_for(f"document.querySelector({json.dumps(row_of(job))}) !== null && document.querySelector({json.dumps(row_of(job))}).dataset.state === 'completed'", 60)
    for where in ("#uploads", row_of(job)):
        checks.that(HOSTILE_SHOWN in page.text(where), f"not seen as text in {where}: {page.text(where)!r}")
    look(page, checks, "hostile fleet")
    page.press_on(f"{row_of(job)} a")
    page.wait_for("document.querySelector('#timeline iframe') && document.getElementById('timeline-note').hidden")
    page.wait_in_frame("document.querySelectorAll('#labels button').length > 0")
    for where in ("#job-name", "#record-facts"):
        checks.that(HOSTILE_SHOWN in page.text(where), f"not seen as text in {where}: {page.text(where)!r}")
    checks.that(page.in_frame("window.pwned") is None, "the timeline ran what is text")
    # A timeline that is hostile itself: it runs in the frame, and gets no further.
    page.in_frame("fetch('/v1/queue').then(() => { window.reached = 1; }, () => { window.reached = 0; })")
    page.wait_in_frame("window.reached !== undefined")
    checks.that(page.in_frame("window.reached") == 0, "the timeline's frame reaches the API")
    refused = [trouble for trouble in page.troubles if "Content Security Policy" in trouble]
    checks.that(len(refused) > 0, "no policy stopped it")
    page.troubles[:] = [trouble for trouble in page.troubles if trouble not in refused]
    look(page, checks, "hostile job")
    if shots:
        page.shoot(shots / "hostile-job.png", whole=True)
    clean(page, checks, fleet.url)


def many(page: Dashboard, fleet: Fleet, checks: Checks, worker: subprocess.Popen, jobs: int, uri: str, shots: Path | None) -> None:
    """A run of many jobs: numbers against the command line while it stands still, and pictures."""
    lines = []
    for n in range(jobs):
        tags = {"work-ms": str(600 + 37 * n % 900), "file": f"call-{n:03}.wav", "team": "abc"[n % 3]}
        tags |= {"end": "permanent"} if n % 25 == 7 else {"end": "retryable", "well-from": "2"} if n % 20 == 3 else {}
        delay = {"delay_s": 600} if n % 50 == 11 else {}
        lines.append(json.dumps({"audio": uri, "priority": ALWAYS[n % 3], "tags": tags} | delay))
    manifest = fleet.tmp / "jobs.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    page.look_like(1280, 900, "light")
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    fleet.say("submit", "--manifest", str(manifest), "--no-cache")
    began = time.monotonic()
    page.wait_for("JSON.parse(document.querySelector('[data-fact=\"rates.completed_per_s\"]').dataset.value) > 0.5", 60)
    # On a fleet this busy a slow list is always behind, and is shown all the same.
    page.slow_lists(4000)
    page.select("#filter-state", "completed")
    page.wait_for("document.querySelectorAll('#jobs-table tbody tr').length > 0 && [...document.querySelectorAll('#jobs-table tbody tr')].every((r) => r.dataset.state === 'completed')")
    checks.that(page.run("window.lists.most") == 2, f"questions pile up: {page.run('window.lists')}")
    equal = 0
    for width, height in SIZES:
        for scheme in SCHEMES:
            page.look_like(width, height, scheme)
            page.go(fleet.url + "/")
            page.wait_for("document.querySelectorAll('#jobs-table tbody tr').length > 0 && document.querySelectorAll('#plot path').length > 0 && document.getElementById('fleet').dataset.at")
            worker.send_signal(signal.SIGSTOP)
            equal += compare(page, fleet, checks)
            worker.send_signal(signal.SIGCONT)
            look(page, checks, f"run of {jobs}, {width} {scheme}")
            if shots:
                page.run("scrollTo(0, 0)")
                page.shoot(shots / f"fleet-{width}-{scheme}.png", whole=True)
    page.look_like(1280, 900, "light")
    page.go(fleet.url + "/")
    page.wait_for("!document.getElementById('older').disabled")
    pages = [page.run("document.querySelector('#jobs-table tbody a').hash")]
    for _ in range(2):
        page.press_on("#older")
        page.wait_for(f"document.querySelector('#jobs-table tbody a').hash !== {json.dumps(pages[-1])}")
        pages.append(page.run("document.querySelector('#jobs-table tbody a').hash"))
    checks.that(page.text("#page-number") == "Page 3" and len(set(pages)) == 3, "pages are not turned")
    page.press_on("#newer")
    page.press_on("#newer")
    page.wait_for(f"document.getElementById('page-number').textContent === 'Page 1' && document.getElementById('newer').disabled")
    page.run("document.getElementById('older').click(); document.getElementById('older').click()")
    page.wait_for("document.getElementById('page-number').textContent !== 'Page 1' && !document.getElementById('older').hasAttribute('aria-disabled')")
    checks.that(page.text("#page-number") == "Page 2", f"two clicks turn to {page.text('#page-number')}")
    second = page.run("document.querySelector('#jobs-table tbody a').hash")
    page.run("window.own = window.fetch; window.fetch = (path, options) => (path.includes('cursor=') ? Promise.reject(new TypeError('cut')) : window.own(path, options))")
    page.press_on("#older")
    page.wait_for("!document.getElementById('notice').hidden")
    checks.that(page.text("#page-number") == "Page 2" and page.run("!document.getElementById('older').disabled"), "a page that does not come is turned to")
    page.run("window.fetch = window.own")
    page.press_on("#older")
    page.wait_for("document.getElementById('page-number').textContent === 'Page 3'")
    checks.that(page.run("document.querySelector('#jobs-table tbody a').hash") not in (second, pages[0]), "a page is turned to twice")
    page.run("document.getElementById('newer').click(); document.getElementById('newer').focus(); document.getElementById('newer').click()")
    page.wait_for("document.getElementById('newer').disabled")
    checks.that(page.run("document.activeElement.id") == "older", "the focus is lost with the last page")
    page.wait_for("['ready', 'running'].every((name) => document.querySelector(`[data-fact=\"${name}\"]`).textContent === '0') && document.querySelector('[data-fact=\"depth.low.retryable\"]').textContent === '0'", 180)
    equal += compare(page, fleet, checks)
    if shots:
        page.hover(900, 330)
        page.shoot(shots / "fleet-after.png", whole=True)
    print(f"run of {jobs} jobs: {time.monotonic() - began:.0f} s, {equal} numbers equal to `rollcall queue --json` in 5 looks")
    clean(page, checks, fleet.url)


def with_keys(page: Dashboard, fleet: Fleet, checks: Checks, uri_job: str, shots: Path | None, late: Path) -> None:
    """A server that asks for keys: asked for once, kept for the tab, never in an address; then it goes and comes back."""
    made = {name: json.loads(fleet.say("keys", "create", name, "--scopes", scopes, "--json")) for name, scopes in (("reader", "read"), ("writer", "submit,read"))}
    texts = {name: next(value for value in key.values() if isinstance(value, str) and value.startswith("rk_")) for name, key in made.items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    serve = ("serve", "--listen", f"127.0.0.1:{port}", "--require-keys")
    server = fleet.start("rollcall", *serve)
    answers(port)
    page.go(url + "/")
    page.wait_for("document.getElementById('ask').open")
    checks.that(page.run("document.activeElement.id") == "ask-key", "the key's field has no focus")
    look(page, checks, "asking for a key")
    if shots:
        page.shoot(shots / "key.png")
    page.drop("#ask", [late])
    checks.that(page.run("document.querySelectorAll('#uploads li').length") == 0, "a file is taken behind the dialog")
    for given, told in (("no key at all", "letters"), ("rk_000000000000_0", "not good")):
        page.type("#ask-key", given)
        page.press("Enter")
        page.wait_for(f"document.getElementById('ask-wrong').textContent.includes({json.dumps(told)}) && document.getElementById('ask').open")
    page.type("#ask-key", texts["reader"])
    page.press("Enter")
    page.wait_for("document.getElementById('link').dataset.state === 'live' && !document.getElementById('ask').open")
    page.wait_for("document.querySelectorAll('#dead-table tbody tr').length > 0")
    page.press_on("#dead-table tbody tr button:not([hidden])")
    page.wait_for("!document.getElementById('notice').hidden")
    checks.that("Not allowed" in page.text("#notice") and "`submit`" in page.text("#notice"), f"403 is not explained: {page.text('#notice')}")
    kept = "[JSON.stringify({...sessionStorage}), JSON.stringify({...localStorage}), document.cookie, location.href]"
    held, *elsewhere = page.run(kept)
    checks.that(texts["reader"] in held and not any("rk_" in place for place in elsewhere), "the key lies elsewhere than in the tab")
    page.run(f"location.hash = '#/jobs/{uri_job}'")
    page.wait_for("document.querySelector('#timeline iframe') && document.getElementById('timeline-note').hidden")
    page.wait_in_frame("document.querySelectorAll('#labels button').length > 0")
    page.press_on("#sound button")
    page.wait_for("document.querySelector('#sound audio') && document.querySelector('#sound audio').readyState >= 1")
    checks.that(page.run("document.querySelector('#sound audio').src.startsWith('blob:')"), "the recording does not come with the key")
    page.press_on("#downloads button[data-format=srt]")
    page.wait_for("document.getElementById('live').textContent.includes('downloaded')")
    page.run("location.hash = '#/'")
    page.wait_for("document.getElementById('link').dataset.state === 'live' && !document.getElementById('fleet').hidden")
    page.press_on("#forget")
    page.wait_for("document.getElementById('ask').open")
    page.type("#ask-key", texts["writer"])
    page.press("Enter")
    # Only once the dialog is closed has the new key been taken; until then the page shows what the old one saw.
    page.wait_for("document.getElementById('link').dataset.state === 'live' && !document.getElementById('ask').open")
    page.wait_for("document.querySelectorAll('#dead-table tbody tr').length > 0")
    tried_again(page, fleet, checks, page.run("document.querySelector('#dead-table tbody tr a').hash.split('/').pop()"))
    checks.that(all(address.startswith(url + "/v1/") for address in page.keyed) and page.keyed, f"the key went elsewhere: {page.keyed[:3]}")

    server.kill()
    server.wait()
    page.wait_for("document.getElementById('link').dataset.state === 'lost'")
    # The next try, which is told of, comes a moment after the loss.
    page.wait_for("/trying again/.test(document.getElementById('notice').textContent)")
    checks.that("trying again" in page.text("#notice") and page.seen("#notice button"), "a lost connection is not told")
    page.type("#wish-tag", "no tag")
    page.drop("#drop", [late])
    page.wait_for("document.getElementById('notice').textContent.includes('key=value')")
    checks.that("trying again" in page.text("#notice") and page.seen("#notice button"), "another notice hides the way back")
    page.type("#wish-tag", "way=late")
    page.drop("#drop", [late])
    page.wait_for("/^waiting .* broke off/.test(document.querySelector('#uploads li span')?.textContent)")
    checks.that(asks_to_stay(page), "what waits to be sent is lost with the page")
    look(page, checks, "lost connection")
    if shots:
        page.shoot(shots / "lost.png")
    server = fleet.start("rollcall", *serve)
    answers(port)
    page.wait_for("document.getElementById('link').dataset.state === 'live' && document.getElementById('notice').hidden", 40)
    job = submitted(page, 1)[0]
    checks.that(fleet.record(job)["tags"]["way"] == "late", "what waited is not submitted")
    # A server that says nothing any more is as good as gone, though its connections stand.
    server.send_signal(signal.SIGSTOP)
    page.wait_for("document.getElementById('link').dataset.state === 'lost'", 40)
    server.send_signal(signal.SIGCONT)
    page.wait_for("document.getElementById('link').dataset.state === 'live' && document.getElementById('notice').hidden", 40)
    clean(page, checks, url, r"status of 40[13]|ERR_CONNECTION|ERR_INCOMPLETE|ERR_ABORTED|ERR_EMPTY")
    fleet.stop(server)


def answers(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > until:
            raise TimeoutError("the server does not listen")


def outage(page: Dashboard, fleet: Fleet, checks: Checks, sound: Path) -> None:
    """Redis stands still: told for as long as it does, and over when it goes on; the same on a job's page."""
    page.look_like(1280, 900, "light")
    page.go(fleet.url + "/")
    page.wait_for("document.getElementById('link').dataset.state === 'live'")
    waiting = fleet.say("submit", "--delay", "1h", "--no-cache", str(sound)).strip()
    port = fleet.env["ROLLCALL_REDIS_URL"].rsplit(":", 1)[1]
    with socket.create_connection(("127.0.0.1", int(port))) as redis:
        began = time.monotonic()
        redis.sendall(b"CLIENT PAUSE 30000 ALL\r\n")
        page.wait_for("!document.getElementById('standing').hidden", 20)
        checks.that("does not answer" in page.text("#notice"), f"an outage is not told: {page.text('#notice')}")
        page.select("#filter-state", "running")
        stands, told = "!document.getElementById('standing').hidden && document.getElementById('link').dataset.state !== 'live'", True
        while told and time.monotonic() < began + 20:
            told = page.run(stands)
            page.settle()
        checks.that(told and page.seen("#standing"), f"the outage is over before its end, after {time.monotonic() - began:.0f} s: {page.text('#top')}")
        page.wait_for("document.getElementById('notice').hidden && document.getElementById('link').dataset.state === 'live'", 40)
        page.run(f"location.hash = '#/jobs/{waiting}'")
        page.wait_for("document.getElementById('link').dataset.state === 'live' && !document.getElementById('job-body').hidden")
        redis.sendall(b"CLIENT PAUSE 12000 ALL\r\n")
        page.wait_for("document.getElementById('link').dataset.state === 'lost' && !document.getElementById('standing').hidden", 20)
        checks.that("has trouble" in page.text("#notice"), f"an outage is not told of a job: {page.text('#notice')}")
        page.wait_for("document.getElementById('link').dataset.state === 'live' && document.getElementById('notice').hidden", 40)
    clean(page, checks, fleet.url, "status of 503")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--fleet", type=Path, required=True)
    parser.add_argument("--tmp", type=Path, required=True)
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--jobs", type=int, default=200)
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(options.bin.resolve(), options.fleet, options.tmp)
    sample = Path(__file__).resolve().parent.parent / "audio" / "sample.wav"
    passed = failed = 0
    try:
        real = fleet.start("rollcall-worker", "serve", "--grace", "5")
        fleet.workers(1)
        parts = []
        for index, (size, scheme) in enumerate((size, scheme) for size in SIZES for scheme in SCHEMES):
            files = {"sound": cut(sample, options.tmp / f"sample-{index}.wav", 10 + index)}
            for name in ("broken", "noise"):
                files[name] = options.tmp / f"{name}-{index}.wav"
                files[name].write_bytes(b"RIFF nothing of the kind " * 40 + os.urandom(64))
            mark = f"{size[0]}-{scheme}"
            parts.append((mark, size, scheme, lambda page, checks, files=files, mark=mark: path(page, fleet, checks, files, options.shots, mark)))
        more = {"keyboard": cut(sample, options.tmp / "keyboard.wav", 9), "hostile": cut(sample, options.tmp / f"{HOSTILE}.wav", 8.5)}
        more |= {name: cut(sample, options.tmp / f"{name}.wav", 5 + index / 8) for index, name in enumerate(("one", "two", "late"))}
        more |= {"transcript": options.tmp / "transcript.srt", "folder": options.tmp / "folder"}
        more["transcript"].write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n")
        more["folder"].mkdir(exist_ok=True)
        parts.append(("keyboard", SIZES[0], "light", lambda page, checks: by_keyboard(page, fleet, checks, more)))
        parts.append(("wishes", SIZES[0], "dark", lambda page, checks: wishes(page, fleet, checks, more)))
        parts.append(("still", SIZES[0], "light", lambda page, checks: still(page, fleet, checks, {"sound": more["keyboard"]})))
        for size, scheme in ((SIZES[0], "dark"), (SIZES[1], "light")):
            parts.append((f"hostile {size[0]}", size, scheme, lambda page, checks: hostile(page, fleet, checks, more, options.shots)))

        def late(page: Dashboard, checks: Checks) -> None:
            # A job with a real result; it is known already.
            job = fleet.record(fleet.say("submit", str(more["keyboard"])).strip())
            fleet.stop(real)
            host = HOST if can_rename() else None
            noop = fleet.start("rollcall-noop-worker", "--max-jobs", "6", host=host)
            fleet.workers(1)
            many(page, fleet, checks, noop, options.jobs, job["audio"]["uri"], options.shots)
            if host:
                checks.that(HOST in page.text("#workers-table"), "the host is not seen as text")
            else:
                print("SKIPPED: a host whose name is markup: a process cannot have a host name of its own here")
            with_keys(page, fleet, checks, job["id"], options.shots, more["late"])
            outage(page, fleet, checks, more["keyboard"])

        parts.append(("run", SIZES[0], "light", late))
        for name, size, scheme, part in parts:
            checks, began = Checks(name), time.monotonic()
            with Dashboard(program) as page:
                page.look_like(*size, scheme)
                try:
                    part(page, checks)
                except (TimeoutError, RuntimeError) as error:
                    checks.that(False, f"{error}; {page.troubles[:3]}; {page.text('main')[:600]!r}")
                    if options.shots:
                        page.shoot(options.shots / "failed.png")
            passed, failed = passed + checks.passed, failed + checks.failed
            print(f"{name}: {checks.passed} passed, {checks.failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    finally:
        for child in fleet.children:
            fleet.stop(child)
    print(f"dashboard: {passed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
