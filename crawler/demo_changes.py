"""Pages of the demo API that change with the clock, for pulls that come again.

Each is a function of ``time.time()`` and of its query, so that every process, and one that was
started anew, answers the same.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from email.utils import formatdate, mktime_tz, parsedate_tz
from typing import Final

from crawler.demo_values import (
    Args,
    Headers,
    KnobError,
    Reply,
    Request,
    duration_s,
    json_reply,
    whole,
)

_NAMES: Final = ("apple", "bread", "cheese", "dates", "eggs")
_TAGS: Final = {"strong": '"{}"', "weak": 'W/"{}"', "same": '"same"', "none": ""}


def changing(api: object, request: Request, args: Args) -> Reply:
    """A document with a new version ``every`` so long; 304 to who holds the newest one.

    ``generated_at`` differs in each reply, as in APIs whose bodies differ though nothing changed.
    ``etag=same`` is a server that lies: one tag for all versions, and never 304.
    """
    now_s, every_s = time.time(), _period_s("every", args, "10s")
    version = math.floor(now_s / every_s)
    validators = _validators(args.get("etag", "strong"), version, version * every_s)
    # A date of whole seconds does not tell two versions of one second apart. What is no GET or HEAD
    # ignores it (RFC 9110, section 13.1.3).
    dated = every_s >= 1 and request.method in ("GET", "HEAD")
    if args.get("etag") != "same" and _is_held(request, dict(validators), dated=dated):
        return Reply(304, headers=validators[:1])
    value = {"version": version, "generated_at": _utc(now_s), "items": _items(version)}
    return json_reply(200, value, *validators)


def _period_s(name: str, args: Args, default: str) -> float:
    seconds = duration_s(args.get(name, default))
    if seconds < 1e-3:  # moments are written in milliseconds
        raise KnobError(f"{name} is {args[name]!r}: give 1ms or more")
    return seconds


def _validators(kind: str, version: int, changed_s: float) -> Headers:
    """ETag and Last-Modified (RFC 9110, section 8.8), neither for ``none``."""
    if kind not in _TAGS:
        raise KnobError(f"etag is {kind!r}: give one of {', '.join(_TAGS)}")
    if kind == "none":
        return ()
    changed = formatdate(math.floor(changed_s), usegmt=True)
    return (("ETag", _TAGS[kind].format(version)), ("Last-Modified", changed))


def _is_held(request: Request, validators: dict[str, str], *, dated: bool) -> bool:
    """Whether to answer 304; where tags are named, the date counts for nothing."""
    if not validators:
        return False
    if request.header("if-none-match"):
        return holds_tag(request, validators["ETag"])
    since_s = _date_s(request.header("if-modified-since"))
    changed_s = _date_s(validators["Last-Modified"])
    return dated and since_s is not None and changed_s is not None and changed_s <= since_s


def holds_tag(request: Request, tag: str) -> bool:
    """Whether If-None-Match names ``tag``, by the weak comparison (RFC 9110, section 8.8.3.2)."""
    known = re.findall(r'"[^"]*"|\*', request.header("if-none-match"))
    return tag.removeprefix("W/") in known or "*" in known


def _date_s(text: str) -> float | None:
    """A date of HTTP in any of its three forms; None for what is none, which is to be ignored."""
    try:
        parts = parsedate_tz(text)
        return None if parts is None else mktime_tz(parts)
    except (ValueError, OverflowError):
        return None


def _items(version: int) -> list[dict[str, object]]:
    """Each version has one other price than the one before, of each item in turn."""
    count = len(_NAMES)
    steps = [(version + n) // count % 1000 for n in range(count)]
    return [
        {"id": n + 1, "name": name, "price": round(n + 1 + step / 100, 2)}
        for n, (name, step) in enumerate(zip(_NAMES, steps, strict=True))
    ]


def flapping(api: object, request: Request, args: Args) -> Reply:
    """Well in the first half of each ``period``, down in the second."""
    period_s = _period_s("period", args, "20s")
    now_s = time.time()
    if now_s % period_s < period_s / 2:
        return json_reply(200, {"ok": True})
    up_again = _utc((math.floor(now_s / period_s) + 1) * period_s)
    return json_reply(503, {"error": f"down until {up_again}"})


def events(api: object, request: Request, args: Args) -> Reply:
    """What came after the event ``since``, oldest first; without ``since``, the newest five."""
    every_s = _period_s("every", args, "1s")
    limit = whole("limit", args.get("limit", "20"), 1, 1000)
    newest = math.floor(time.time() / every_s)
    if "since" in args:
        since = whole("since", args["since"], 0, 10**15 - 1)
    else:
        since = newest - min(5, limit)
    numbers = range(since + 1, min(since + limit, newest) + 1)
    items = [
        {"id": n, "updated_at": _utc(n * every_s), "text": f"what happened at {n}"} for n in numbers
    ]
    return json_reply(200, {"items": items, "more": since + limit < newest})


def _utc(moment_s: float) -> str:
    moment = datetime.fromtimestamp(moment_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
