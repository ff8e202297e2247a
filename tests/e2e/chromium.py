"""A real browser for the tests: Debian's chromium without a window, spoken to in its own protocol."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--no-proxy-server",
)


def browser_path() -> str | None:
    """Where the browser is, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def send(self, method: str, **parameters: object) -> dict[str, object]:
        """Send one command and give its result; RuntimeError when the browser refuses."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply.get("id") == number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return dict(reply["result"])

    def go(self, url: str) -> None:
        """Open an address."""
        self.send("Page.enable")
        self.send("Page.navigate", url=url)

    def value(self, expression: str) -> object:
        """What an expression of the page is."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        inner = result["result"]
        return inner.get("value") if isinstance(inner, dict) else None

    def text(self) -> str:
        """The words on the page."""
        return str(self.value("document.body ? document.body.innerText : ''") or "")

    def wait_for(self, expression: str, *, timeout_s: float) -> float:
        """Wait until an expression is true; seconds it took, or TimeoutError with the page's words."""
        began = time.monotonic()
        watch = (
            "new Promise(done => {const look = () => {let ok = false; try {ok = !!("
            + expression
            + ")} catch (e) {}"
            " if (ok) done(true); else setTimeout(look, 50)}; look();"
            f" setTimeout(() => done(false), {int(timeout_s * 1000)})}})"
        )
        while time.monotonic() - began < timeout_s:
            try:
                if self.value(watch) is True:
                    return time.monotonic() - began
            except RuntimeError:  # the page was left while we watched
                continue
        raise TimeoutError(
            f"{expression} was not true within {timeout_s} s; the page says:\n{self.text()[:2000]}"
        )

    def size(self, width: int, height: int) -> None:
        """Make the page as wide and high as a device."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path) -> None:
        """Keep a picture of what is seen."""
        picture = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(str(picture["data"])))


@contextmanager
def chromium(folder: Path) -> Iterator[Tab]:
    """A browser with an empty profile in ``folder`` while the block runs."""
    path = browser_path()
    assert path is not None, "no chromium here"
    profile = folder / "profile"
    process = subprocess.Popen(
        [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        port = next(
            line.decode().split("127.0.0.1:")[1].split("/")[0]
            for line in process.stderr
            if b"DevTools listening" in line
        )
        with httpx.Client(trust_env=False) as http:
            tabs = http.get(f"http://127.0.0.1:{port}/json").json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, proxy=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
