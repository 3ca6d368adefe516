"""What holds of the dashboard's views: numbers against the command line, names, contrast, what it may ask for."""

import json
import re
import time

from dashboard_fleet import Fleet
from dashboard_page import GRAPHICS, Dashboard
from timeline import CONTRAST, OUTSIDE, SMALL, Checks

ALWAYS = ["high", "normal", "low"]


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
    checks.that(fleet.record(letter)["token"] > token, f"the dead letter was not tried again: {page.text('#notice')!r}, {page.text(letter_of(letter))!r}")


def asks_to_stay(page: Dashboard) -> bool:
    return page.run("(() => { const leaving = new Event('beforeunload', { cancelable: true }); dispatchEvent(leaving); return leaving.defaultPrevented; })()")
