"""What a Scrapy user writes for a list of URLs: each fetched once, its body an item of a feed.

Called by ``scrapy runspider`` with ``-a urls=FILE``; the settings give Scrapy its best here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import scrapy

IN_FLIGHT = 64


class ListSpider(scrapy.Spider):  # type: ignore[misc]
    """Fetches a list."""

    name = "list"
    custom_settings: ClassVar = {
        "CONCURRENT_REQUESTS": IN_FLIGHT,
        "CONCURRENT_REQUESTS_PER_DOMAIN": IN_FLIGHT,
        "DOWNLOAD_DELAY": 0,
        "ROBOTSTXT_OBEY": False,
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_ENABLED": False,
        "COOKIES_ENABLED": False,
    }

    async def start(self) -> AsyncIterator[Any]:
        """Yield a request a line."""
        for request in self._requests():
            yield request

    def start_requests(self) -> Iterator[Any]:
        """Do the same for versions before 2.13."""
        yield from self._requests()

    def _requests(self) -> Iterator[Any]:
        with open(self.urls, encoding="ascii") as lines:
            for line in lines:
                yield scrapy.Request(line.strip(), dont_filter=True)

    def parse(self, response: scrapy.http.TextResponse) -> Iterator[dict[str, object]]:
        """Give the body as an item."""
        yield {"url": response.url, "status": response.status, "body": response.text}
