"""Headless Chromium, driven over its debugging pipe (file descriptors 3 and 4, messages ended by a zero byte)."""

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path

ANSWER_S_MAX = 60.0


class Chromium:
    """One browser with one page. Everything that went wrong inside the page is in `troubles`."""

    def __init__(self, program: str = "chromium"):
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"]
        flags += ["--no-first-run", f"--user-data-dir={self._home.name}", "--remote-debugging-pipe", "about:blank"]
        line = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        log = open(Path(self._home.name) / "log", "wb")
        self._process = subprocess.Popen(
            ["bash", "-c", line, program, *flags], pass_fds=(to_read, to_write), stdout=log, stderr=log
        )
        os.close(to_read)
        os.close(to_write)
        self._next, self._buffer, self._session = 0, b"", None
        self.troubles: list[str] = []
        self.requests: list[str] = []
        pages, until = [], time.monotonic() + ANSWER_S_MAX
        while not pages and time.monotonic() < until:
            pages = [target["targetId"] for target in self.ask("Target.getTargets")["targetInfos"] if target["type"] == "page"]
        if not pages:
            raise TimeoutError("the browser has no tab")
        page = pages[0]
        self._session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session = None
        try:
            self.ask("Browser.close")
            self._process.wait(timeout=10)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._home.cleanup()

    def _message(self, until: float) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer from the browser within {ANSWER_S_MAX} s")
            more = os.read(self._read, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self._buffer += more
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event: dict) -> None:
        name, what = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.troubles.append("exception: " + json.dumps(what["exceptionDetails"])[:400])
        elif name == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.troubles.append(f"{what['entry']['source']}: {what['entry']['text']}")
        elif name == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.troubles.append("console: " + json.dumps(what["args"])[:400])
        elif name == "Page.javascriptDialogOpening":
            self.troubles.append("dialog: " + what["message"])
        elif name == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])

    def ask(self, method: str, **params) -> dict:
        self._next += 1
        question = {"id": self._next, "method": method, "params": params}
        if self._session:
            question["sessionId"] = self._session
        os.write(self._write, json.dumps(question).encode() + b"\0")
        until = time.monotonic() + ANSWER_S_MAX
        while True:
            message = self._message(until)
            if message.get("id") != self._next:
                self._note(message)
            elif "error" in message:
                raise RuntimeError(f"{method}: {message['error']}")
            else:
                return message["result"]

    def look_like(self, width: int, height: int, scheme: str) -> None:
        """Viewport in CSS pixels, at two device pixels each; `scheme` is light or dark."""
        phone = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=phone)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def open(self, page: Path) -> None:
        self.ask("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def run(self, script: str):
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:400])
        return answer["result"].get("value")

    def wait_for(self, condition: str, within_s: float = 60.0) -> None:
        until = time.monotonic() + within_s
        while not self.run(condition):
            if time.monotonic() > until:
                raise TimeoutError(f"not within {within_s} s: {condition}")
            self.settle()

    def settle(self) -> None:
        """Two frames, so that what was asked for has been drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def press(self, key: str, text: str = "") -> None:
        code = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}.get(key, 0)
        event = {"key": key, "windowsVirtualKeyCode": code, "code": key if code else ""}
        if text or key == "Enter":
            event["text"] = text or "\r"
        self.ask("Input.dispatchKeyEvent", type="keyDown", **event)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in event.items() if k != "text"})
        self.settle()

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def hover(self, x: float, y: float) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def shoot(self, to: Path, whole: bool = False) -> None:
        self.settle()
        picture = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        to.write_bytes(base64.b64decode(picture["data"]))

    def nodes(self) -> list[dict]:
        """What a screen reader is told: role and name of everything not ignored."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        said = (node for node in nodes if not node.get("ignored"))
        return [{"role": n.get("role", {}).get("value", ""), "name": n.get("name", {}).get("value", "")} for n in said]
