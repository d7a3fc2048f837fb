"""The teaching example that ``crawl`` grew from, as it was: original.py BASE_URL COUNT RECORD.

A ``multiprocessing.Pool`` of 8 whose initializer hands each worker a lock; each task makes one
``requests.get`` and appends one line to the record under that lock.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from functools import partial
from multiprocessing.synchronize import Lock

import requests

_lock: Lock


def initialize(lock: Lock) -> None:
    """Keep the lock where the tasks find it: it cannot be pickled into one."""
    global _lock
    _lock = lock


def request_novel(name: str, *, base_url: str, record: str) -> int:
    """Time one request, write its line, and give its status code."""
    started = time.time()
    status = requests.get(base_url + name, timeout=30).status_code
    cost_s = time.time() - started
    with _lock, open(record, "a", encoding="utf-8") as log:
        log.write(f"Request({name}) cost {cost_s:.3f} seconds\n")
    return status


def main() -> None:
    """Request COUNT names and print how many failed."""
    base_url, count, record = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    names = [f"novel-{number}" for number in range(count)]
    target = partial(request_novel, base_url=base_url, record=record)
    lock = multiprocessing.Lock()
    with multiprocessing.Pool(8, initializer=initialize, initargs=(lock,)) as pool:
        errors = sum(status != 200 for status in pool.imap(target, names))
        pool.close()
        pool.join()
    print(json.dumps({"errors": errors}))


if __name__ == "__main__":
    main()
