"""A real HTTP server whose replies a test writes, and jobs pulled from it as the command does."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crawler.cli import main


@dataclass
class Asked:
    """One request that came: when, until when, and what the reply's status was."""

    path: str
    headers: Mapping[str, str]
    began: float
    ended: float = 0.0
    status: int = 0


@dataclass
class Reply:
    """What a page answers."""

    body: bytes | Mapping[str, Any] | list[Any] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    @property
    def content_type(self) -> str:
        return "text/plain" if isinstance(self.body, bytes) else "application/json"


Page = Callable[[Mapping[str, list[str]], Mapping[str, str]], Reply]


class Site:
    """Pages by path, and the log of what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def page(self, path: str, reply: Reply) -> None:
        """Answer ``path`` with ``reply`` from now on; 304 to its ETag or its date."""
        self.pages[path] = lambda query, headers: _conditional(reply, headers)

    def of(self, path: str) -> list[Asked]:
        return [each for each in self.asked if each.path.split("?")[0] == path]


def _conditional(reply: Reply, headers: Mapping[str, str]) -> Reply:
    etag, date = reply.headers.get("ETag"), reply.headers.get("Last-Modified")
    sent = headers.get("if-none-match")
    if sent is not None:
        same = etag is not None and sent.removeprefix("W/") == etag.removeprefix("W/")
    else:
        same = date is not None and headers.get("if-modified-since") == date
    return Reply(b"", 304, reply.headers) if same else reply


def _missing(_query: Mapping[str, list[str]], _headers: Mapping[str, str]) -> Reply:
    return Reply(b"no such page", 404)


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """Serve a site on a free port of loopback."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go out together, and none waits for an acknowledgement (Nagle).
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked = Asked(self.path, _lower(self.headers), time.time())
            site.asked.append(asked)
            url = urlsplit(self.path)
            page = site.pages.get(url.path, _missing)
            reply = page(parse_qs(url.query), asked.headers)
            asked.status = reply.status
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.content_type, **reply.headers}.items():
                self.send_header(name, value)
            if reply.status != 304:
                self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            if reply.status != 304:
                self.wfile.write(reply.content)
            self.wfile.flush()
            asked.ended = time.time()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class PulledJob:
    """A job file in a folder of its own, and what its pulls left."""

    def __init__(self, folder: Path, text: str, *, name: str = "job") -> None:
        self.path = folder / f"{name}.toml"
        self.folder = folder / name
        self.write(text)

    def write(self, text: str) -> None:
        """Write the job; in this process, since forking one with threads is no good."""
        quick = "" if "[pool]" in text else "\n[pool]\nprocesses = 0\n"
        retries = "" if "[retries]" in text else "\n[retries]\nretries = 0\n"
        self.path.write_text(text + quick + retries)

    def pull(self, *options: str) -> int:
        """Pull it once; the exit code."""
        return main(["pull", *options, str(self.path)])

    def latest(self) -> dict[str, bytes]:
        """The files in latest/ by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("latest/*"))}

    def versions(self) -> list[Path]:
        """The files of versions, oldest first; diffs left out."""
        found = sorted(self.folder.glob("versions/**/*"), key=lambda path: path.name)
        return [p for p in found if p.is_file() and not p.name.endswith((".diff", ".patch.json"))]

    def diffs(self) -> list[str]:
        """The texts of diffs, oldest first."""
        found = [*self.folder.glob("versions/**/*.diff")]
        found += self.folder.glob("versions/**/*.patch.json")
        return [path.read_text() for path in sorted(found, key=lambda path: path.name)]

    def state(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the state, read as anybody with sqlite3 would."""
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.folder / "state.db")) as connection:
            return connection.execute(sql).fetchall()

    def outcomes(self) -> list[str]:
        """The outcomes of all pulls, oldest first."""
        return [row[0] for row in self.state("SELECT outcome FROM outcome ORDER BY at, target")]

    def records(self) -> list[dict[str, Any]]:
        """The records of the log."""
        lines = (self.folder / "record.log").read_text().splitlines()
        return [json.loads(line) for line in lines]
