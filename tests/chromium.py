"""A browser that a test drives: Debian's headless Chromium, over the DevTools protocol.

    with Chromium(directory) as browser:
        tab = browser.open("http://127.0.0.1:8080/", width=1200)
        tab.until("document.title === 'shop'")
        tab.click("#start")
        tab.complaints, tab.asked
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

LONGEST = 15.0
LARGEST = 64 << 20
NAMES = ("chromium", "chromium-browser", "google-chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40}
CHARACTERS = {"Enter": "\r", " ": " "}
SHIFT = 8

WHERE = """async selector => {
  const middle = element => {
    const {x, y, width, height} = element.getBoundingClientRect();
    return [x + width / 2, y + height / 2];
  };
  const element = document.querySelector(selector);
  if (!element) return null;
  element.scrollIntoView({block: 'center', behavior: 'instant'});
  const before = middle(element);
  await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const [x, y] = middle(element);
  const hit = document.elementFromPoint(x, y);
  return x === before[0] && y === before[1] && element.contains(hit) ? [x, y] : null;
}"""


def installed() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One process, and one connection to it, over which all its tabs are spoken to."""

    def __init__(self, directory: Path) -> None:
        program = installed()
        assert program is not None, "chromium is not installed"
        self._tabs: dict[str, Tab] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._count = 0
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={directory}",
                "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync",
                "--disable-background-networking", "--disable-component-update", "--mute-audio", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._socket = self._connected(directory / "DevToolsActivePort")

    def _connected(self, where: Path) -> ClientConnection:
        end = time.monotonic() + LONGEST
        while not (where.exists() and len(said := where.read_text().splitlines()) == 2):
            assert self._process.poll() is None, f"chromium has ended with {self._process.returncode}"
            assert time.monotonic() < end, f"chromium does not listen within {LONGEST:g} s"
            time.sleep(0.01)
        return connect(f"ws://127.0.0.1:{said[0]}{said[1]}", max_size=LARGEST, compression=None, proxy=None)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def open(self, url: str, *, width: int = 1200, height: int = 900, features: Mapping[str, str] | None = None) -> Tab:
        """A tab with a storage of its own; `features` are what the media queries of the page see."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        tab.prefer(features or {})
        tab.call("Page.navigate", url=url)
        return tab

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._count += 1
        number = self._count
        to = {"sessionId": session} if session is not None else {}
        self._socket.send(json.dumps({"id": number, "method": method, "params": params, **to}))
        end = time.monotonic() + LONGEST
        while number not in self._answers:
            self.hear(end - time.monotonic(), method)
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        found: dict[str, Any] = answer["result"]
        return found

    def hear(self, within: float, what: str) -> None:
        """The next thing that it says: an answer, or what happens in a tab."""
        try:
            said = json.loads(self._socket.recv(timeout=max(0.0, within)))
        except (TimeoutError, ConnectionClosed) as error:
            raise AssertionError(f"chromium does not answer {what}: {error!r}") from None
        if "id" in said:
            self._answers[said["id"]] = said
        elif (tab := self._tabs.get(said.get("sessionId", ""))) is not None:
            tab.happened(said["method"], said["params"])


class Tab:
    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.complaints: list[str] = []
        """What stands in its console as an error, and what was thrown and not caught."""
        self.asked: list[str] = []
        """Every address that it has sent a request to."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def happened(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert", "warning"):
                self.complaints.append(str([each.get("value") for each in params["args"]]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    # Looking

    def run(self, expression: str) -> Any:
        """The value of an expression in the page, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Its value as soon as that is true."""
        end = time.monotonic() + LONGEST
        while not (value := self.run(f"document.readyState === 'complete' ? ({expression}) : null")):
            assert time.monotonic() < end, f"not within {LONGEST:g} s: {expression}"
            time.sleep(0.02)
        return value

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def tree(self) -> list[dict[str, Any]]:
        """What a screen reader is told: each node with its role and its name."""
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in self.call("Accessibility.getFullAXTree")["nodes"]
            if not node.get("ignored")
        ]

    def screenshot(self, path: Path, whole: bool = True) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"clip": {**size, "scale": 1}} if whole else {}
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
        path.write_bytes(base64.b64decode(picture["data"]))

    # Doing

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, features: Mapping[str, str]) -> None:
        said = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=said)

    def click(self, selector: str) -> None:
        """As a mouse does it: in the middle of what is there, as soon as it stands still and nothing covers it."""
        x, y = self.until(f"({WHERE})({json.dumps(selector)})")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, modifiers: int = 0) -> None:
        said = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
        if key in CHARACTERS:
            said["text"] = CHARACTERS[key]
        self.call("Input.dispatchKeyEvent", type="keyDown", **said)
        self.call("Input.dispatchKeyEvent", type="keyUp", **said)

    def write(self, text: str, into: str | None = None) -> None:
        """Into what has the focus, or in the place of what stands in a field."""
        if into is not None:
            self.run(f"(field => {{ field.focus(); field.select(); }})(document.querySelector({json.dumps(into)}))")
        self.call("Input.insertText", text=text)
