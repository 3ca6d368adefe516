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
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

from dashboard_checks import ALWAYS, clean, compare, letter_of, look, row_of, submitted, tried_again
from dashboard_fleet import HOST, Fleet, can_rename
from dashboard_page import Dashboard
from dashboard_trouble import outage, still, wishes, with_keys
from timeline import SCHEMES, SIZES, Checks

HOSTILE = '<img src=x onerror=window.pwned=1>"&\'{{data}} \u0645\u0631\u062d\u0628\u0627 \u202egpj'
HOSTILE_SHOWN = '<img src=x onerror=window.pwned=1>"&\'{{data}} \u0645\u0631\u062d\u0628\u0627 \u00b7gpj'


def cut(source: Path, to: Path, seconds: float) -> Path:
    """The first seconds of a WAV file: content of its own, so that no result is known yet."""
    with wave.open(str(source)) as given, wave.open(str(to), "wb") as made:
        made.setparams(given.getparams())
        made.writeframes(given.readframes(int(seconds * given.getframerate())))
    return to


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
        tags |= {"part": "page"} if n < 20 else {}
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
    # The pages are of unlike height, so the button is elsewhere once the next one is there.
    page.wait_for("document.getElementById('page-number').textContent === 'Page 2' && document.querySelector('#jobs-table tbody a').hash === " + json.dumps(pages[1]))
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
    page.type("#filter-tag", "part=page")
    page.wait_for("(() => { const rows = [...document.querySelectorAll('#jobs-table tbody tr')]; return rows.length === 20 && rows.every((row) => row.textContent.includes('part=page')); })()")
    checks.that(page.run("document.getElementById('older').disabled"), "there is a page after the last one")
    print(f"run of {jobs} jobs: {time.monotonic() - began:.0f} s, {equal} numbers equal to `rollcall queue --json` in 5 looks")
    clean(page, checks, fleet.url)


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
