"""What the demo API answers: a function from a request to a reply that knows no socket.

The tables ``PAGES`` and ``KNOBS`` at the end are the whole of it: requests are routed by the first,
``KNOBS_HELP`` is printed from both. A knob that makes no sense is answered with 400 and the remedy.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final, NamedTuple
from urllib.parse import urlencode

from crawler.demo_changes import changing, events, flapping, holds_tag
from crawler.demo_values import (
    JSON_TYPE,
    Args,
    KnobError,
    Reply,
    Request,
    decimal,
    delay_s,
    duration_s,
    json_reply,
    whole,
)
from crawler.errors import CrawlError

_MAX_BYTES: Final = 1_000_000_000
_BLOCK: Final = b"0123456789abcdef" * 4096
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")


class Counts:
    """Counts by key, of the 100,000 keys seen last: more would cost memory without end."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], int] = {}

    def next(self, *key: str) -> int:
        """How many times ``key`` has come, this one included."""
        count = self._counts.pop(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > 100_000:
            del self._counts[next(iter(self._counts))]
        return count


class Novel(NamedTuple):
    """One line of the data set, as JSON; ``sought`` is the text that a search looks into."""

    line: bytes
    sought: str


_HERE: Final = Path(__file__).resolve()
DATA_FILES: Final = tuple(parent / "data" / "novels.jsonl" for parent in _HERE.parents[:2])
"""Where the data set lies: in an installed package, or in a checkout."""


def load_novels(files: Sequence[Path] = DATA_FILES) -> dict[str, Novel]:
    """The data set by id, from the first of ``files`` that is there. Raises ``CrawlError``."""
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise CrawlError(f"the demo's data set is missing: reinstall, or restore {files[-1]}")
    novels = {}
    for line in file.read_bytes().splitlines():
        novel = json.loads(line)
        sought = f"{novel['title']} {novel['author']} {novel['year']}".casefold()
        novels[str(novel["id"])] = Novel(line, sought)
    return novels


class DemoApi:
    """Answers requests, from one server's data (else ``CrawlError``), counters and ``stats``."""

    def __init__(self, stats: Callable[[], Mapping[str, object]]) -> None:
        self.stats = stats
        self.novels = load_novels()
        self._counts = Counts()
        self._random = Random()

    def answer(self, request: Request) -> Reply:
        """The reply to ``request``; bad knobs give 400, unknown paths 404."""
        page = _PAGE_AT.get((request.segments[0], len(request.segments)))
        if page is None:
            return json_reply(404, {"error": f"no page {request.path}: GET / lists them all"})
        args = dict(reversed(request.pairs))  # of a name given twice, the first counts
        try:
            rng = self._rng(request, args) if "seed" in args else self._random
            fault = self._fault(page, request, args, rng)
            reply = page.answer(self, request, args) if fault is None else _failed(fault, args)
            delay = delay_s(args["delay"], rng) if "delay" in args else 0.0
        except KnobError as error:
            return json_reply(400, {"error": str(error)})
        return reply._replace(delay_s=delay, chunked=args.get("chunked") == "1")

    def _rng(self, request: Request, args: Args) -> Random:
        """A seeded request draws from its own URL's stream, whatever order others come in."""
        count = self._counts.next("seed", args["seed"], request.target)
        return Random(f"{args['seed']} {count} {request.target}")

    def _fault(self, page: Page, request: Request, args: Args, rng: Random) -> int | None:
        """The status to answer instead of the page, None for the page."""
        text = page.status(request, args)
        status = None if text is None else whole("status", text, 200, 599)
        if "times" in args:
            times = whole("times", args["times"], 0, 10**9)
            failing = self._counts.next("times", args.get("key", request.path)) <= times
        elif "fail" in args:
            failing = rng.random() < decimal(args["fail"], "fail", 0, 1)
        else:
            failing = status is not None
        return (status or 503) if failing else None


def _failed(status: int, args: Args) -> Reply:
    headers = []
    if (wait := args.get("retry_after")) == "date":
        ahead = math.ceil(time.time() + 1)  # whole seconds on the wire: never less than 1 s ahead
        headers.append(("Retry-After", formatdate(ahead, usegmt=True)))
    elif wait is not None:
        headers.append(("Retry-After", str(whole("retry_after", wait, 0, 10**9))))
    return json_reply(status, {"status": status}, *headers)


def _search(api: DemoApi, request: Request, args: Args) -> Reply:
    if (name := args.get("name")) is None:
        raise KnobError("name is missing: ask /novelSearchApi?name=NAME")
    sought = name.casefold()
    found = [novel.line for novel in api.novels.values() if sought in novel.sought]
    head = json.dumps({"name": name, "count": len(found)}, ensure_ascii=False)
    body = b'%s, "results": [%s]}' % (head[:-1].encode("utf-8", "replace"), b", ".join(found))
    return Reply(200, body, (JSON_TYPE,))


def _novel(api: DemoApi, request: Request, args: Args) -> Reply:
    novel = api.novels.get(request.segments[1])
    if novel is None:
        return json_reply(404, {"error": f"no such novel: ask 1 … {len(api.novels)}"})
    return Reply(200, novel.line, (JSON_TYPE,))


def _pages(api: DemoApi, request: Request, args: Args) -> Reply:
    page = whole("page", args.get("page", "1"), 1, 10**6)
    size = whole("per_page", args.get("per_page", "10"), 1, 1000)
    novels = list(api.novels.values())
    shown = [json.loads(novel.line) for novel in novels[(page - 1) * size : page * size]]
    value = {"page": page, "per_page": size, "total": len(novels), "results": shown, "next": None}
    if page * size >= len(novels):
        return json_reply(200, value)
    query = urlencode({**args, "page": page + 1, "per_page": size})
    value["next"] = f"http://{request.header('host')}/pages?{query}"
    return json_reply(200, value, ("Link", f'<{value["next"]}>; rel="next"'))


def _etag(api: DemoApi, request: Request, args: Args) -> Reply:
    tag = f'"{_header_text(request.segments[1])}"'
    if holds_tag(request, tag):
        return Reply(304, headers=(("ETag", tag),))
    return json_reply(200, {"etag": tag}, ("ETag", tag))


def _header_text(text: str) -> str:
    if re.search(r"[\0-\x1f\x7f]", text):
        raise KnobError(f"{text!r} holds a control character: remove it")
    return text.encode("utf-8", "replace").decode("latin-1")


def _redirect(api: DemoApi, request: Request, args: Args) -> Reply:
    left = whole("redirect", request.segments[1], 0, 1000)
    if left == 0:
        return json_reply(200, {"redirects_left": 0})
    query = f"?{urlencode(request.pairs)}" if request.pairs else ""
    return json_reply(302, {"redirects_left": left}, ("Location", f"/redirect/{left - 1}{query}"))


def _redirect_to(api: DemoApi, request: Request, args: Args) -> Reply:
    status = whole("status", args.get("status", "302"), 300, 399)
    return json_reply(status, {}, ("Location", _header_text(args.get("url", "/"))))


def _packed(api: DemoApi, request: Request, args: Args) -> Reply:
    coding = request.segments[0]
    body = json.dumps({coding: True, "method": request.method}).encode()
    packed = gzip.compress(body, 6, mtime=0) if coding == "gzip" else zlib.compress(body)
    return Reply(200, packed, (JSON_TYPE, ("Content-Encoding", coding)))


def _bytes(api: DemoApi, request: Request, args: Args) -> Reply:
    length = whole("bytes", request.segments[1], 0, _MAX_BYTES)
    full, rest = divmod(length, len(_BLOCK))
    headers = (("Content-Type", "application/octet-stream"),)
    blocks = (_BLOCK if n < full else _BLOCK[:rest] for n in range(full + 1))
    return Reply(200, headers=headers, parts=((0.0, block) for block in blocks), length=length)


def _drip(api: DemoApi, request: Request, args: Args) -> Reply:
    length = whole("bytes", args.get("bytes", "100"), 0, 1_000_000)
    duration = duration_s(args.get("duration", "2s"))
    steps = max(1, min(length, round(duration / 0.01)))
    cuts = [length * n // steps for n in range(steps + 1)]
    pieces = (b"*" * (high - low) for low, high in pairwise(cuts))
    parts = ((duration * n / steps, piece) for n, piece in enumerate(pieces, 1))
    return Reply(200, headers=(_TEXT,), parts=parts, length=length)


def _anything(api: DemoApi, request: Request, args: Args) -> Reply:
    origin = f"http://{request.header('host')}" if request.target.startswith("/") else ""
    text = request.body.decode("utf-8", "replace")
    echo = {
        "method": request.method,
        "url": f"{origin}{request.target}",
        "args": _grouped(request.pairs),
        "headers": _grouped((name.title(), value) for name, value in request.headers),
        "data": text,
        "json": None,
    }
    with suppress(ValueError, RecursionError):
        echo["json"] = json.loads(text)
    return json_reply(200, echo)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found if len(found) > 1 else found[0] for name, found in values.items()}


def _cookies(api: DemoApi, request: Request, args: Args) -> Reply:
    pairs = (part.strip().partition("=") for part in request.header("cookie").split(";"))
    return json_reply(200, {"cookies": {name: value for name, _, value in pairs if name}})


def _basic_auth(api: DemoApi, request: Request, args: Args) -> Reply:
    user, password = request.segments[1:3]
    expected = base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode()
    scheme, _, given = request.header("authorization").partition(" ")
    if scheme.lower() == "basic" and given.strip() == expected:
        return json_reply(200, {"authenticated": True, "user": user})
    challenge = ("WWW-Authenticate", 'Basic realm="demo", charset="UTF-8"')
    return json_reply(401, {"authenticated": False}, challenge)


class Page(NamedTuple):
    """A page: its path, what it does, what answers, and the status that it is to fail with."""

    pattern: str
    says: str
    answer: Callable[[DemoApi, Request, Args], Reply] = lambda *_: json_reply(200, {"ok": True})
    status: Callable[[Request, Args], str | None] = lambda request, args: args.get("status")


PAGES: Final = (
    Page("/novelSearchApi?name=NAME", "novels whose title, author, year hold NAME", _search),
    Page("/novel/{id}", "one novel; 404 when unknown", _novel),
    Page("/pages?page=1&per_page=10", "all novels by pages: Link rel=next, JSON next", _pages),
    Page("/status/{code}", "that status", status=lambda request, args: request.segments[1]),
    Page("/429?retry_after=2", "429 with Retry-After", status=lambda request, args: "429"),
    Page("/flaky?times=2&key=a", "fails the first 2 requests for key a, then answers"),
    Page("/etag/{tag}", "honours If-None-Match: 304", _etag),
    Page("/changing?every=10s", "new each 10 s, else 304; etag=weak, none, same (a lie)", changing),
    Page("/flapping?period=20s", "answers for half of each 20 s, then fails with 503", flapping),
    Page("/events?since=7&limit=20", "those after event 7; a new one comes every=1s", events),
    Page("/redirect/{n}", "a chain of n redirects", _redirect),
    Page("/redirect-to?url=URL&status=302", "a redirect to URL", _redirect_to, lambda *_: None),
    Page("/gzip", "JSON, gzipped", _packed),
    Page("/deflate", "JSON, deflated", _packed),
    Page("/bytes/{n}", "n bytes", _bytes),
    Page("/drip?bytes=100&duration=2s", "100 bytes, slowly, over 2 s", _drip),
    Page("/headers", "echoes the request as JSON: method, url, args, headers, data", _anything),
    Page("/anything", "the same", _anything),
    Page("/cookies", "the cookies that came", _cookies),
    Page("/basic-auth/{user}/{password}", "401 unless these credentials come", _basic_auth),
    Page("/never", "takes the request and never replies", lambda *_: Reply(200, never=True)),
    Page("/stats", "requests by path and in flight", lambda api, *_: json_reply(200, api.stats())),
    Page("/health", "200"),
    Page("/", "this list", lambda *_: Reply(200, KNOBS_HELP.encode(), (_TEXT,))),
)

KNOBS: Final = (
    ("\nQuery parameters, on every path:", ""),
    ("delay=100ms", "wait before the reply; also drawn anew each time from"),
    ("", "uniform:LOW,HIGH  normal:MEAN,SD  exp:MEAN (durations)"),
    ("", "lognormal:MEDIAN,SIGMA  pareto:LEAST,ALPHA (and a number)"),
    ("seed=7", "same seed, same URL: the same series of delays and failures"),
    ("status=503", "answer with this status"),
    ("fail=0.05", "fail with this probability, with status (503)"),
    ("times=2&key=K", "fail the first 2 requests for key K (the path), with status (503)"),
    ("retry_after=2", "Retry-After of failures: seconds, or date for a date 1 s ahead"),
    ("chunked=1", "send the body in chunks, without Content-Length"),
)

KNOBS_HELP: Final[str] = "\n".join(
    f"  {form:<32}{says}" if says else form
    for form, says in [("Paths:", ""), *(page[:2] for page in PAGES), *KNOBS]
)
_PAGE_AT: Final = {(re.split("[/?]", p.pattern)[1], p.pattern.count("/")): p for p in PAGES}
