"""The server that does nothing, and the floor measured against it."""

from __future__ import annotations

import socket

from crawler.calibration import calibrate
from crawler.load import Load
from crawler.null_server import REPLY, NullServer
from crawler.schedule import Schedule, parse_rate
from crawler.settings import Settings


def test_it_answers_each_request_and_ends_with_its_owner() -> None:
    """A connection is answered again and again; after the context nobody listens."""
    with NullServer() as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            for _ in range(3):
                peer.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert peer.recv(4096) == REPLY
    with socket.socket() as peer:
        assert peer.connect_ex(("127.0.0.1", port)) != 0


def test_the_floor_is_measured_in_a_closed_loop_and_at_a_rate() -> None:
    """Without a rate the loop is closed; with one the latencies are those at that rate."""
    settings = Settings(concurrency=4, processes=1)
    closed = calibrate(settings, Load(requests=1))
    assert closed.rate_per_s is None
    assert closed.most_per_s > 500
    assert 0 < closed.p50_ms <= closed.p99_ms < 1000
    paced = calibrate(settings, Load(requests=1, schedule=Schedule(parse_rate("100").stages)))
    assert paced.rate_per_s == 100
    assert 0 < paced.p50_ms < 100
