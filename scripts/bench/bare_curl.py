"""The least that libcurl costs from Python: bare_curl.py LIST. Keeps no record.

One process, one multi handle driven with ``perform`` and ``select``, 64 easy handles reused, no
clock read, nothing written. What ``crawl`` costs above this is the price of its records.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator

import pycurl

IN_FLIGHT = 64


def new_handle() -> pycurl.Curl:
    """An easy handle that throws the body away."""
    handle = pycurl.Curl()
    handle.setopt(pycurl.WRITEFUNCTION, len)
    handle.setopt(pycurl.NOSIGNAL, 1)
    return handle


def start_next(multi: pycurl.CurlMulti, handle: pycurl.Curl, urls: Iterator[str]) -> int:
    """Give the handle its next URL; 0 when there is none left, else 1."""
    for url in urls:
        handle.setopt(pycurl.URL, url)
        multi.add_handle(handle)
        return 1
    return 0


def run(urls: Iterator[str]) -> tuple[int, int]:
    """Request every URL; give how many were requested and how many failed."""
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, IN_FLIGHT)
    running = sum(start_next(multi, new_handle(), urls) for _ in range(IN_FLIGHT))
    requests = errors = 0
    while running:
        multi.perform()
        queued, done, failed = multi.info_read(IN_FLIGHT)
        finished = [*done, *(handle for handle, _, _ in failed)]
        errors += sum(handle.getinfo(pycurl.RESPONSE_CODE) != 200 for handle in finished)
        requests += len(finished)
        for handle in finished:
            multi.remove_handle(handle)
            running += start_next(multi, handle, urls) - 1
        if not finished and not queued:
            multi.select(1.0)
    return requests, errors


def main() -> None:
    """Request every URL of the list; print errors and the CPU time of one request."""
    with open(sys.argv[1], encoding="utf-8") as lines:
        before = resource.getrusage(resource.RUSAGE_SELF)
        requests, errors = run(line.strip() for line in lines)
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"errors": errors, "loop_cpu_us": 1e6 * cpu_s / max(1, requests)}))


if __name__ == "__main__":
    main()
