"""A browser with the dashboard in it: pointer, keyboard and files as a person uses them, and what the page shows."""

import json
import os
import time
from pathlib import Path

from chromium import Chromium

# Colours of the chart and of states against the card they stand on (WCAG 2.2, 1.4.11).
GRAPHICS = """(() => {
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    probe.fillStyle = style.getPropertyValue(name).trim(); probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...probe.getImageData(0, 0, 1, 1).data].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const card = light('--card');
  return ['--high', '--normal', '--low', '--wait', '--good', '--bad', '--idle', '--edge', '--focus'].map((name) => {
    const own = light(name);
    return [name, (Math.max(own, card) + 0.05) / (Math.min(own, card) + 0.05)];
  }).filter(([, ratio]) => ratio < 3).map(([name, ratio]) => `${name}: ${ratio.toFixed(2)}`);
})()"""
FACTS = """(() => ({
  at: document.getElementById('fleet').dataset.at,
  facts: Object.fromEntries([...document.querySelectorAll('[data-fact]')].map((e) => [e.dataset.fact, [JSON.parse(e.dataset.value ?? 'null'), e.textContent]])),
}))()"""


class Dashboard(Chromium):
    """One tab. Frames of other origins are followed as well: their troubles and requests count."""

    def __init__(self, program: str):
        self.frames: list[str] = []
        self.dialogs: list[int] = []
        self.keyed: list[str] = []
        super().__init__(program)
        self.ask("DOM.enable")
        self.ask("Page.setInterceptFileChooserDialog", enabled=True)
        self.ask("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def _note(self, event: dict) -> None:
        name, what = event.get("method"), event.get("params", {})
        if name == "Target.attachedToTarget" and what["targetInfo"]["type"] == "iframe":
            self.frames.append(what["sessionId"])
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._tell(f"{domain}.enable", what["sessionId"])
        elif name == "Page.fileChooserOpened":
            self.dialogs.append(what["backendNodeId"])
        elif name == "Network.requestWillBeSent" and "Authorization" in what["request"]["headers"]:
            self.keyed.append(what["request"]["url"])
        super()._note(event)

    def _tell(self, method: str, session: str) -> None:
        """Asks without waiting: the answer is passed over."""
        # A number of its own range: `ask` waits for its own number meanwhile.
        question = {"id": 1 << 30, "method": method, "params": {}, "sessionId": session}
        os.write(self._write, json.dumps(question).encode() + b"\0")

    def in_frame(self, script: str):
        """Runs a script in the newest frame of another origin."""
        own, self._session = self._session, self.frames[-1]
        try:
            return self.run(script)
        finally:
            self._session = own

    def wait_in_frame(self, condition: str, within_s: float = 60.0) -> None:
        until = time.monotonic() + within_s
        while not (self.frames and self.in_frame(condition)):
            if time.monotonic() > until:
                raise TimeoutError(f"not in the frame within {within_s} s: {condition}")
            self.settle()

    def go(self, url: str) -> None:
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.protocol.startsWith('http')")

    def text(self, selector: str) -> str:
        return self.run(f"(document.querySelector({json.dumps(selector)}) || {{innerText: ''}}).innerText")

    def seen(self, selector: str) -> bool:
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].some((e) => e.checkVisibility())")

    def press_on(self, selector: str) -> None:
        """A click with the pointer on the middle of what is seen of it, once it stays there. A click that falls elsewhere does nothing and is repeated."""
        aim = (
            f"(window.aim = [...document.querySelectorAll({json.dumps(selector)})].find((e) => e.checkVisibility()), window.hit = false,"
            " window.aim && (window.aim.scrollIntoView({block: 'center', behavior: 'instant'}), document.addEventListener('click', (event) => {"
            " if (window.aim.contains(event.target)) window.hit = true; else { event.preventDefault(); event.stopImmediatePropagation(); }"
            " }, {capture: true, once: true})), Boolean(window.aim))"
        )
        place = "(() => { const b = window.aim.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if not self.run(aim):
                self.settle()
                continue
            before = None
            while (now := self.run(place)) != before and time.monotonic() < until:
                self.hover(*now)
                before = now
            self.click(*before)
            if self.run("window.hit"):
                return
        raise TimeoutError(f"a click does not meet {selector}")

    def type(self, selector: str, text: str) -> None:
        self.press_on(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)
        self.settle()

    def select(self, selector: str, value: str) -> None:
        script = "(() => { const e = document.querySelector(%s); e.value = %s; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); })()"
        self.run(script % (json.dumps(selector), json.dumps(value)))

    def answer_dialog(self, files: list[Path]) -> None:
        """Gives files to the file dialog that the page opened."""
        until = time.monotonic() + 60
        while not self.dialogs:
            if time.monotonic() > until:
                raise TimeoutError("no file dialog")
            self.settle()
        self.ask("DOM.setFileInputFiles", files=[str(file) for file in files], backendNodeId=self.dialogs.pop())

    def drop(self, selector: str, files: list[Path] = (), text: str = "") -> None:
        """Drags files, or a text, over an element and lets it fall."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        x, y = self.run(f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()")
        items = [{"mimeType": "text/plain", "data": text}] if text else []
        data = {"items": items, "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)
        self.settle()

    def hurry(self, wait_ms: int) -> None:
        """Timers of that length run at once; `window.hurried` counts them."""
        self.run(
            "(() => { const own = window.setTimeout; window.hurried = 0; window.setTimeout = (work, ms, ...more) =>"
            f" ms === {wait_ms} ? own(() => {{ work(); window.hurried += 1; }}, 1) : own(work, ms, ...more); }})()"
        )

    def hide(self, hidden: bool) -> None:
        """Tells the page that its tab went to the background, or came back."""
        self.run(f"Object.defineProperty(document, 'hidden', {{ value: {json.dumps(hidden)}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))")

    def slow_lists(self, wait_ms: int) -> None:
        """Each list of jobs takes so long from now on; `window.lists.most` is how many were asked for at a time."""
        self.run(
            "(() => { const own = window.fetch; window.lists = { now: 0, most: 0 }; window.fetch = async (path, options) => {"
            " if (!path.startsWith('/v1/jobs?')) return own(path, options);"
            " window.lists.most = Math.max(window.lists.most, window.lists.now += 1);"
            " let gone = false; const leave = () => { if (!gone) { gone = true; window.lists.now -= 1; } };"
            f" try {{ await new Promise((done, failed) => {{ setTimeout(done, {wait_ms}); options.signal?.addEventListener('abort', () => {{ leave(); failed(options.signal.reason); }}); }});"
            " return await own(path, options); } finally { leave(); } }; })()"
        )

    def tab_to(self, selector: str, most: int = 120) -> bool:
        """Tab after Tab until the focus is there; `False` when it never is, or when it is not to be seen on the way."""
        for _ in range(most):
            self.press("Tab")
            found, outlined = self.run(
                f"[document.activeElement.matches({json.dumps(selector)}), document.activeElement === document.body"
                " || document.activeElement.matches('.quiet') || getComputedStyle(document.activeElement).outlineStyle !== 'none']"
            )
            if not outlined:
                return False
            if found:
                return True
        return False

    def facts(self) -> dict:
        return self.run(FACTS)

    def next_look(self) -> dict:
        """The numbers after the next event."""
        at = json.dumps(self.facts()["at"])
        self.wait_for(f"document.getElementById('fleet').dataset.at !== {at}")
        return self.facts()
