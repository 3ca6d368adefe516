#!/usr/bin/env python3
"""Opens `timeline.html` pages in headless Chromium at 1280 and 390 pixels, light and dark, and uses them.

usage: timeline.py PAGE... [--shots FOLDER] [--text TEXT]...    TEXT must be seen in each page, as text

Fails (exit 1) when a page reports an error or a breach of its own policy, asks for anything beside itself and its
recording, opens a dialog, is wider than the window, has text cut or out of the window, has a control without a name or
less than 24 pixels, or cannot be used by keyboard and click. Exit 0 with a line when there is no Chromium.
"""

import argparse
import shutil
import sys
from pathlib import Path

from chromium import Chromium

SIZES = ((1280, 900), (390, 844))
SCHEMES = ("light", "dark")
CONTRAST_MIN = 4.5

# Elements with text of their own whose colours differ too little from what lies behind them (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 200) return c; } return rgba('Canvas'); };
  const poor = new Set();
  for (const e of document.body.querySelectorAll('*')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility({ checkOpacity: true }) || e.closest('script,.skip,#live')) continue;
    const a = light(rgba(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e).slice(0, 3));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < LEAST) poor.add(`${e.tagName}.${e.className} in #${(e.closest('[id]') || {}).id}: ${ratio.toFixed(2)}`);
  }
  return [...poor];
})()""".replace("LEAST", str(CONTRAST_MIN))

# Text that reaches out of the window, and controls that are small to hit.
OUTSIDE = """[...document.body.querySelectorAll('*')].filter((e) => e.checkVisibility() && !e.closest('.skip,#live,#stage') && e.textContent.trim())
  .filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.left < -1 || b.right > innerWidth + 1); })
  .map((e) => `${e.tagName}#${e.id}.${e.className}`).slice(0, 5)"""
SMALL = """[...document.querySelectorAll('button')].filter((e) => e.checkVisibility() && !e.closest('.skip'))
  .filter((e) => { const b = e.getBoundingClientRect(); return b.width < 24 || b.height < 23.5; })
  .map((e) => `${e.id || e.className} ${e.getBoundingClientRect().width}x${e.getBoundingClientRect().height}`).slice(0, 5)"""
PICTURE = "document.getElementById('lanes').toDataURL().length + ':' + document.getElementById('lanes').toDataURL().slice(-4000)"


class Checks:
    def __init__(self, where: str):
        self.where, self.failed, self.passed = where, 0, 0

    def that(self, holds: bool, what: str) -> None:
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED  {self.where}: {what}")


def look(browser: Chromium, checks: Checks, texts: list[str]) -> None:
    wide, window = browser.run("[document.documentElement.scrollWidth, innerWidth]")
    checks.that(wide <= window, f"the page is {wide} pixels wide in a window of {window}")
    for name, script in (("outside of the window", OUTSIDE), ("too small to hit", SMALL), ("too little contrast", CONTRAST)):
        found = browser.run(script)
        checks.that(not found, f"{name}: {found}")
    seen = browser.run("document.body.innerText + '\\n' + document.title")
    for text in texts:
        checks.that(text in seen, f"not seen as text: {text!r}")
    checks.that(browser.run("document.querySelectorAll('script').length") == 2, "scripts that are not the page's")
    strange = "document.querySelectorAll('img, iframe, object, embed, link, form, input, [onerror], [onclick], [onload]').length"
    checks.that(browser.run(strange) == 0, "elements that the page never makes")
    names = [node for node in browser.nodes() if node["role"] in ("button", "application", "region", "heading")]
    nameless = [node["role"] for node in names if not node["name"].strip()]
    checks.that(len(names) > 5 and not nameless, f"without a name for a screen reader: {nameless}")


def use(browser: Chromium, checks: Checks) -> None:
    if not browser.run("JSON.parse(document.getElementById('data').textContent).turns.length"):
        return
    live = "document.getElementById('live').textContent"
    browser.run("document.getElementById('stage').focus()")
    browser.press("ArrowRight")
    first = browser.run(live)
    checks.that(" to " in first, f"the arrow tells no turn: {first!r}")
    browser.press("ArrowRight")
    if browser.run("JSON.parse(document.getElementById('data').textContent).turns.length") > 1:
        checks.that(browser.run(live) != first, "the arrow stays on the first turn")
    whole = browser.run(PICTURE)
    browser.press("+", "+")
    checks.that(browser.run(PICTURE) != whole, "plus does not zoom")
    browser.press("0", "0")
    checks.that(browser.run(PICTURE) == whole, "zero does not show everything again")
    played(browser, checks)
    labels = "[...document.querySelectorAll('#labels button')].map((b) => b.getAttribute('aria-pressed')).join()"
    browser.run("document.querySelector('#labels button').click()")
    checks.that(browser.run(labels).startswith("true"), "a speaker is not shown alone")
    browser.run("document.querySelector('#labels button').click()")
    checks.that("true" not in browser.run(labels), "a speaker stays alone")


def played(browser: Chromium, checks: Checks) -> None:
    """Enter on a turn, and a click on one in the timeline, play it where there is sound."""
    if not browser.run("document.getElementById('audio') !== null"):
        return
    audio = "document.getElementById('audio')"
    browser.wait_for(f"{audio}.readyState >= 1 || {audio}.error")
    checks.that(browser.run(f"{audio}.error === null"), "the recording cannot be played")
    browser.run("document.getElementById('stage').focus()")
    browser.press("Enter")
    try:
        browser.wait_for(f"!{audio}.paused && {audio}.currentTime > 0")
    except TimeoutError:
        checks.that(False, "Enter does not play the turn")
    checks.that(browser.run("document.getElementById('play').getAttribute('aria-label')") == "Pause", "no button to pause")
    browser.run(f"{audio}.pause()")
    where = """(() => { const turns = JSON.parse(document.getElementById('data').textContent).turns, last = turns[turns.length - 1];
      const box = document.getElementById('stage').getBoundingClientRect(), style = getComputedStyle(document.getElementById('plot'));
      const px = (n) => parseFloat(style.getPropertyValue(n)), length = JSON.parse(document.getElementById('data').textContent).duration;
      return [box.left + box.width * (last[0] + last[1]) / 2 / length, box.top + px('--axis') + last[2] * px('--lane') + px('--block-top') + px('--block') / 2, last[0] / 1000]; })()"""
    browser.run("document.getElementById('stage').scrollIntoView({block: 'center'})")
    x, y, start = browser.run(where)
    browser.click(x, y)
    try:
        # A slow machine may look when the last turn has been played to its end.
        browser.wait_for(f"({audio}.ended || !{audio}.paused) && {audio}.currentTime >= {start}")
    except TimeoutError:
        checks.that(False, "a click on a turn does not play it")
    browser.run(f"{audio}.pause()")
    browser.settle()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--text", action="append", default=[])
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("SKIPPED: timeline.html in a browser: there is no chromium")
        return 0
    passed = failed = 0
    for page in arguments.pages:
        for width, height in SIZES:
            for scheme in SCHEMES:
                checks = Checks(f"{page}, {width} pixels, {scheme}")
                with Chromium(program) as browser:
                    browser.look_like(width, height, scheme)
                    browser.open(page)
                    browser.settle()
                    look(browser, checks, arguments.text)
                    if arguments.shots:
                        arguments.shots.mkdir(parents=True, exist_ok=True)
                        browser.shoot(arguments.shots / f"{page.resolve().parent.name}-{width}-{scheme}.png")
                    use(browser, checks)
                    here = page.resolve().parent.as_uri()
                    beyond = [url[:80] for url in browser.requests if not url.startswith(("data:", "file:", "blob:"))]
                    checks.that(not beyond, f"asked for {beyond} from {here}")
                    checks.that(not browser.troubles, f"{browser.troubles[:3]}")
                passed, failed = passed + checks.passed, failed + checks.failed
    print(f"{len(arguments.pages)} pages: {passed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
