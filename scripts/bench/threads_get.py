"""A ``requests.Session`` shared by 64 threads: threads_get.py LIST COUNT. Keeps no record."""

from __future__ import annotations

import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import requests
from requests.adapters import HTTPAdapter

THREADS = 64


def main() -> None:
    """Request the first COUNT URLs of LIST and print how many failed."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_connections=THREADS, pool_maxsize=THREADS))

    def failed(url: str) -> bool:
        return session.get(url, timeout=30).status_code != 200

    with open(sys.argv[1], encoding="utf-8") as lines:
        urls = [line.strip() for line in itertools.islice(lines, int(sys.argv[2]))]
    with ThreadPoolExecutor(THREADS) as pool:
        errors = sum(pool.map(failed, urls))
    print(json.dumps({"errors": errors}))


if __name__ == "__main__":
    main()
