"""HTTP/2 against nginx: spoken at once without TLS, and told apart in the record."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler import crawl

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

CONFIG = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} http2; location / {{ return 200 "$server_protocol"; }} }}
}}
"""


@pytest.fixture
def http2_server(tmp_path: Path) -> Iterator[str]:
    """URL of an nginx that speaks HTTP/2 without TLS."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=port))
    server = subprocess.Popen([NGINX, "-e", tmp_path / "error.log", "-c", config])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
            continue
        return
    pytest.fail("nginx did not start")


def test_http2_is_spoken_and_recorded(http2_server: str) -> None:
    """With http="2" every reply is HTTP/2, whole, and requests share connections."""
    run = crawl((f"{http2_server}/{n}" for n in range(200)), http="2", concurrency=16, retries=0)
    records = list(run.records())
    assert [record.error for record in records] == [None] * 200
    assert {record.http_version for record in records} == {"2"}
    assert {record.bytes for record in records} == {len("HTTP/2.0")}
    assert sum(not record.reused for record in records) <= 16
