"""A headless Chromium, driven over its own DevTools protocol, noting what pages ask for and complain of."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

Json = dict[str, Any]
T = TypeVar("T")

START_SECONDS = 60.0
LOOK_SECONDS = 60.0  # on a machine that is busy with other tests
_QUIET_SECONDS = 0.7
_LONG_SECONDS = 5.0  # a request that takes longer is a long poll, or waited for by what it brings
_OWN_SCHEMES = ("data", "blob", "chrome", "devtools", "about")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    # Whatever a page asks of the internet fails at once, and is noted.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The path of a Chromium; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass
class Browser:
    """One tab. `complaints` and `requests` are noted from the first page on."""

    socket: ClientConnection
    session: str = ""
    complaints: list[str] = field(default_factory=list)  # errors of the console, uncaught ones, failed loads
    requests: list[str] = field(default_factory=list)  # the addresses, in order
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _loading: dict[str, tuple[str, float]] = field(default_factory=dict)  # request id to address and start

    def open(self, address: str) -> None:
        """Go to a page and wait until it has come to rest."""
        answer = self.call("Page.navigate", url=address)
        assert "errorText" not in answer, answer
        self.rest()

    def rest(self) -> None:
        """Wait until nothing is being fetched, for a moment; pages that poll come to rest in between."""
        deadline = time.monotonic() + LOOK_SECONDS
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < _QUIET_SECONDS:
            assert time.monotonic() < deadline, f"The page does not come to rest: {self._loading}"
            self._listen(0.05)
            if any(time.monotonic() - start < _LONG_SECONDS for _, start in self._loading.values()):
                quiet_since = time.monotonic()

    def sees(self, *texts: str, seconds: float = LOOK_SECONDS) -> str:
        """Wait until the page shows all the texts; return all that it shows."""
        deadline = time.monotonic() + seconds
        while True:
            shown = str(self.run("document.body ? document.body.innerText : ''"))
            missing = [text for text in texts if text not in shown]
            if not missing:
                return shown
            assert time.monotonic() < deadline, f"The page does not show {missing}:\n{shown}"
            self._listen(0.1)

    def sees_no(self, text: str, seconds: float = LOOK_SECONDS) -> None:
        """Wait until the page does not show the text."""
        deadline = time.monotonic() + seconds
        while text in str(self.run("document.body ? document.body.innerText : ''")):
            assert time.monotonic() < deadline, f"The page goes on showing {text!r}."
            self._listen(0.1)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise's, once it is there."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, selector: str, text: str = "") -> None:
        """Click with the mouse on the first element that has the text, once there is one to be seen."""
        script = f"""(() => {{
          const found = [...document.querySelectorAll({json.dumps(selector)})]
            .find((one) => one.innerText.includes({json.dumps(text)}) && one.getClientRects().length);
          if (!found) return null;
          found.scrollIntoView({{ block: "center" }});
          const box = found.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        deadline = time.monotonic() + LOOK_SECONDS
        point, before = self.run(script), None
        while point is None or point != before:  # what unfolds or slides in comes to a stop first
            assert time.monotonic() < deadline, f"There is no {selector} with {text!r} that stands still."
            self._listen(0.15)
            point, before = self.run(script), point
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], button="left", clickCount=1
            )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, code: str, text: str) -> None:
        """Press the key of a code, such as `Slash`, which types the text."""
        key = code if text == "\r" else text
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def size(self, width: int, height: int) -> None:
        """Give the window a size, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, path: Path) -> None:
        """Store what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def elsewhere(self, *addresses: str) -> list[str]:
        """Return the requests to anything but the sites of the addresses."""
        ours = {urlsplit(address).netloc for address in addresses}
        return [
            request
            for request in self.requests
            if urlsplit(request).scheme not in _OWN_SCHEMES and urlsplit(request).netloc not in ours
        ]

    def call(self, method: str, **parameters: Any) -> Json:
        """Call a method of the DevTools protocol; what happens meanwhile is noted."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv(LOOK_SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: Json = answer["result"]
                return result
            self._note(answer)

    def _listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                self._note(json.loads(self.socket.recv(left)))

    def _note(self, event: Json) -> None:
        facts = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(facts["request"]["url"][:500])
                # A worker's script has no loader, and no end that is told here.
                if facts["loaderId"] and urlsplit(facts["request"]["url"]).scheme not in _OWN_SCHEMES:
                    self._loading[facts["requestId"]] = (facts["request"]["url"], time.monotonic())
            case "Page.frameStartedNavigating":
                self._loading.clear()  # of what a page that is left had asked for, nothing more is told
            case "Network.webSocketCreated":
                self.requests.append(facts["url"])
            case "Network.loadingFinished":
                self._loading.pop(facts["requestId"], None)
            case "Network.loadingFailed":
                address, _ = self._loading.pop(facts["requestId"], ("", 0.0))
                if not facts.get("canceled"):
                    self.complaints.append(f"{address}: {facts['errorText']}")
            case "Runtime.exceptionThrown":
                details = facts["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if facts["type"] in ("error", "assert"):
                said = [str(part.get("value", part.get("description"))) for part in facts["args"]]
                self.complaints.append(" ".join(said))
            case "Log.entryAdded" if facts["entry"]["level"] == "error":
                self.complaints.append(f"{facts['entry'].get('url', '')}: {facts['entry']['text']}")


@contextmanager
def browsing(profile: Path, program: str, *, width: int = 1440, height: int = 900) -> Iterator[Browser]:
    """Start a browser with a fresh profile; kill it and its children at the end."""
    with (profile.with_name("chromium.log")).open("wb") as log:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            with connect(_address(profile, process), max_size=None, ping_interval=None) as socket:
                browser = Browser(socket)
                target = browser.call("Target.createTarget", url="about:blank")["targetId"]
                attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
                browser.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Network", "Log"):
                    browser.call(f"{domain}.enable")
                browser.size(width, height)
                yield browser
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """Return where the browser listens, which it writes into its profile."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(FileNotFoundError, ValueError):
            port, path = file.read_text().split()
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.05)
    raise RuntimeError("Chromium did not start; see chromium.log beside its profile.")
