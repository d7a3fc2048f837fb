"""aiohttp with 64 requests in flight in one process: aiohttp_get.py LIST. Keeps no record."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import aiohttp

IN_FLIGHT = 64


async def fetch_all(session: aiohttp.ClientSession, urls: Iterator[str]) -> int:
    """Request one URL after the other from the shared iterator; give how many failed."""
    errors = 0
    for url in urls:
        async with session.get(url) as reply:
            await reply.read()
            errors += reply.status != 200
    return errors


async def crawl(path: str) -> int:
    """Request every URL of the list; give how many failed."""
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    with open(path, encoding="utf-8") as lines:
        urls = (line.strip() for line in lines)
        async with aiohttp.ClientSession(connector=connector) as session:
            return sum(await asyncio.gather(*(fetch_all(session, urls) for _ in range(IN_FLIGHT))))


if __name__ == "__main__":
    print(json.dumps({"errors": asyncio.run(crawl(sys.argv[1]))}))
