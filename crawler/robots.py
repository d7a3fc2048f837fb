"""robots.txt (RFC 9309): read once a host and asked for each URL; nothing else knows protego.

Without a robots.txt (a status of 4xx) all is allowed; where it cannot be had (5xx, no answer) all
is disallowed. At most 500 kB of it count, and five redirects are followed, as the RFC says.
"""

from __future__ import annotations

from typing import Final

from protego import Protego

from crawler.engines.base import Engine, Request
from crawler.profile import Profile
from crawler.settings import Settings
from crawler.urls import InvalidUrl, join, wire_url

MOST_BYTES: Final = 500_000
_REDIRECTS: Final = 5
_TIMEOUT_S: Final = 10.0
_MOST_DELAY_S: Final = 60.0
"""A longer Crawl-delay is not kept: it would be a way to say no, for which there is another."""

_ALL: Final = ""
_NOTHING: Final = "User-agent: *\nDisallow: /\n"


class Robots:
    """The rules of every host that was met, for the run's User-Agent."""

    def __init__(self, engine: Engine, profile: Profile, settings: Settings) -> None:
        self._engine = engine
        self._profile = profile
        self._settings = settings
        self._agent = settings.user_agent
        self._rules: dict[str, Protego | None] = {}

    def is_news(self, host: str) -> bool:
        """Tell, once a host, that its rules are still to be read."""
        if host in self._rules:
            return False
        self._rules[host] = None
        return bool(host)

    async def read(self, host: str, url: str) -> float:
        """Read the rules of the host of ``url``; give the seconds that it wants between requests.

        An exchange that fails makes no error: nothing is allowed then.
        """
        rules = Protego.parse(await self._text(join(wire_url(url).url, "/robots.txt")))
        self._rules[host] = rules
        delay_s = rules.crawl_delay(self._agent)
        return min(float(delay_s or 0.0), _MOST_DELAY_S)

    async def _text(self, url: str) -> str:
        for _ in range(_REDIRECTS + 1):
            timeout_s = min(_TIMEOUT_S, self._settings.timeout_s)
            headers = self._profile.neutral_headers
            request = Request(
                url, "GET", headers, None, timeout_s, False, keep=True, most_bytes=MOST_BYTES
            )
            reply = await self._engine.exchange(request)
            if reply.status is None or (reply.error is not None and reply.error != "too_large"):
                return _NOTHING
            if reply.location is None:
                break
            try:
                url = wire_url(join(url, reply.location)).url
            except InvalidUrl:
                return _ALL
        assert reply.status is not None
        if reply.status >= 500:
            return _NOTHING
        if reply.status != 200 or reply.kept is None:
            return _ALL
        return reply.kept.body.read()[:MOST_BYTES].decode("utf-8-sig", "replace")

    def allow(self, host: str, url: str) -> bool:
        """Tell whether a URL may be requested: nothing, as long as the host's rules are unread."""
        rules = self._rules.get(host)
        return rules is not None and bool(rules.can_fetch(wire_url(url).url, self._agent))
