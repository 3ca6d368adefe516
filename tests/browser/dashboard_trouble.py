"""The dashboard where something is in the way: drops beside the place, a tab that was put away, keys, servers that are gone."""

import json
import signal
import socket
import time
from pathlib import Path

from dashboard_checks import asks_to_stay, clean, look, row_of, submitted, tried_again
from dashboard_fleet import Fleet, answers
from dashboard_page import Dashboard
from timeline import Checks


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
    page.hover(x + 1, y)
    for _ in range(3):
        page.next_look()
        page.hover(x + 1, y)
        page.hover(x, y)
    checks.that(page.run(under) and not page.seen(row_of(later[1])), "rows move under the pointer")
    page.hover(4, 4)
    page.wait_for(f"document.querySelector({json.dumps(row_of(later[1]))}) !== null")

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
