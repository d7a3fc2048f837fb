"""What the connections of one demo server share: its pages, its counts and its log."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Protocol

from crawler.demo_pages import DemoApi
from crawler.demo_values import Request
from crawler.errors import CrawlError


class Connection(Protocol):
    """What a site can do with its connections."""

    def abort(self) -> None:
        """Close it at once."""
        ...


class Site:
    """Pages, counts (of all but /stats) and the log: a line a request, wall-clock seconds in it."""

    def __init__(self, log: Path | None) -> None:
        self.api = DemoApi(self._stats)
        self.connections: set[Connection] = set()
        self._paths: dict[str, int] = {}
        self._in_flight = self._max_in_flight = 0
        self._began_s: dict[int, float] = {}
        try:
            self.log = None if log is None else log.open("a", buffering=1, encoding="utf-8")
        except OSError as error:
            raise CrawlError(f"the demo's log {log}: {error.strerror}: give another file") from None

    def begin(self, request: Request) -> None:
        """A request has come whole."""
        self._began_s[id(request)] = time.time()
        if request.path == "/stats":
            return
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        path = _public(request.path)
        if path not in self._paths and len(self._paths) >= 10_000:
            path = "(other)"
        self._paths[path] = self._paths.get(path, 0) + 1

    def end(self, request: Request, status: int | None) -> None:
        """``status`` is None when the client left before its reply."""
        self._in_flight -= request.path != "/stats"
        began_s = self._began_s.pop(id(request), 0.0)
        if self.log is not None:
            line = {
                "method": request.method,
                "target": _public(request.target),
                "status": status,
                "host": dict(request.headers).get("host"),
                "began": round(began_s, 6),
                "ended": round(time.time(), 6),
            }
            self.log.write(json.dumps(line) + "\n")

    def _stats(self) -> dict[str, object]:
        flights = {"in_flight": self._in_flight, "max_in_flight": self._max_in_flight}
        return {"requests": sum(self._paths.values()), **flights, "paths": self._paths}


def _public(path: str) -> str:
    """``path`` without the password that /basic-auth/USER/PASSWORD holds."""
    return re.sub(r"(/basic-auth/[^/]*/)[^/?]*", r"\1***", path)
