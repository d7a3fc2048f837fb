"""A headless Chromium that a test drives, over the DevTools protocol on a pipe of its own.

https://chromedevtools.github.io/devtools-protocol/. Messages are JSON, each ended by a NUL.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def chromium_path() -> str:
    """Where Chromium is; the test skips where it is not. In CI it is installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")


class Browser:
    """One page at a time; what it asked of a network and what it complained of is kept."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._unread = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(
        self, page: Path | str, *, width: int = 1280, scheme: str = "light", script: bool = True
    ) -> None:
        """Load a file or a URL, at a width, in a colour scheme, and wait for its charts."""
        self.events.clear()
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        self._until("Page.loadEventFired")
        if script:
            self.value("drawn")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression, or its promise, comes to."""
        told = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def requests(self) -> list[str]:
        """The URLs that the page asked for, but what is within it."""
        sent = (e["params"]["request"]["url"] for e in self._seen("Network.requestWillBeSent"))
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        """Errors and warnings of its console, exceptions and breaches of its policy included."""
        said = [
            str(event["params"]["args"])
            for event in self._seen("Runtime.consoleAPICalled")
            if event["params"]["type"] in ("error", "warning", "assert")
        ]
        said += [str(event["params"]) for event in self._seen("Runtime.exceptionThrown")]
        return said + [event["params"]["entry"]["text"] for event in self._seen("Log.entryAdded")]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page."""
        return self._call(method, self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (told := self._next()).get("id") != self._calls:
            self.events.append(told)
        assert "error" not in told, (method, told["error"])
        result: dict[str, Any] = told["result"]
        return result

    def _until(self, method: str) -> None:
        while not self._seen(method):
            self.events.append(self._next())

    def _seen(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("method") == method]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            more = os.read(self._back, 1 << 16)
            assert more, "Chromium has ended"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A Chromium with an empty profile; it reads its pipe at descriptor 3 and writes at 4."""
    path = chromium_path()
    (read_to, to), (back, write_back) = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$0" "$@" 3<&{read_to} 4>&{write_back}', path),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--disable-background-networking", "--no-first-run", "--disable-dev-shm-usage"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
        ],
        pass_fds=(read_to, write_back),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_to)
    os.close(write_back)
    try:
        yield Browser(process, to, back)
    finally:
        os.close(to)  # it ends by itself, with all its processes, once its pipe is closed
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(back)
