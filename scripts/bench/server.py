"""The servers that everything is measured against, each on a free port of 127.0.0.1.

``nginx`` answers at once, so the client is what is measured; ``delay_server.py`` answers after a
fixed time, or never, and knows how many requests it holds. Both end with their ``with`` block.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BODY = '{"novel":"Dream of the Red Chamber","author":"Cao Xueqin","year":1791,"pages":2339}'
LARGE_BODY = f'{{"text":"{"So it goes, line after line. " * 70}"}}'
"""2 KB, as a page of an API."""

NGINX_CONFIG = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location = /served {{ stub_status; }}
        location = /body {{ return 200 '{large}'; }}
        location / {{ return 200 '{body}'; }}
    }}
}}
"""


class ServerError(Exception):
    """A server that the benchmark needs is missing or did not start."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. ``url`` has no slash at its end."""

    url: str
    version: str

    def served(self) -> int:
        """How many requests it has answered so far, this question not included."""
        with urllib.request.urlopen(f"{self.url}/served", timeout=5) as reply:
            text = reply.read().decode()
        return int(text.splitlines()[2].split()[2]) - 1


def free_port() -> int:
    """A port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nginx_program() -> str | None:
    """The path of nginx; Debian keeps it where a user's PATH does not look."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def serve_nginx(folder: Path) -> Iterator[Nginx]:
    """Run nginx with one worker and its files in ``folder``. Raises ``ServerError``."""
    program = nginx_program()
    if program is None:
        raise ServerError("nginx is not installed (Debian: apt-get install nginx-light)")
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=folder, port=port, body=BODY, large=LARGE_BODY))
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port, process, folder / "error.log")
        yield Nginx(f"http://127.0.0.1:{port}", nginx_version(program))
    finally:
        _end(process)


def nginx_version(program: str) -> str:
    """What ``nginx -v`` says."""
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    return done.stderr.strip().removeprefix("nginx version: ")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    said = log.read_text() if log.exists() else "nothing"
    raise ServerError(f"nginx did not start; its error log says: {said}")


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class DelayServer:
    """A running ``delay_server.py``. ``url`` has no slash at its end."""

    url: str

    def mean_in_flight(self) -> float:
        """Time-weighted mean of the requests held, over the middle 60 % of the run so far."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=5) as reply:
            return float(json.loads(reply.read())["mean_in_flight"])


@contextlib.contextmanager
def serve_delay(delay_ms: float) -> Iterator[DelayServer]:
    """Run a server whose replies take ``delay_ms``; those to ``/stuck`` never come."""
    command = [sys.executable, str(HERE / "delay_server.py"), "--delay-ms", str(delay_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise ServerError("delay_server.py did not start; its own words are above")
        yield DelayServer(f"http://127.0.0.1:{port}")
    finally:
        _end(process)
