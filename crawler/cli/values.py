"""Texts of the command line to values: durations, sizes, headers, credentials, bodies.

Pure functions but for those that read a file or the environment. Each raises ``UsageError`` naming
the option, what was got and an example of the right form; one that may hold a secret (headers,
credentials, cookies, proxies, bodies) never repeats what was got.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from crawler.durations import duration_s as duration_s
from crawler.durations import duration_text as duration_text
from crawler.environment import expand_env as expand_env
from crawler.errors import UsageError
from crawler.sizes import size_bytes as size_bytes
from crawler.sizes import size_text as size_text

# Digits are bounded so that no text, however long, costs time or overflows.
_NUMBER: Final = r"([0-9]{1,15})(?:\.([0-9]{1,9}))?"
_AGO: Final = re.compile(r"([0-9]{1,9})\s?([smhd])")
_AGO_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_WEIGHT: Final = re.compile(_NUMBER)
_PERCENT: Final = re.compile(_NUMBER + "%")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PROXY: Final = re.compile(
    r"(?:([A-Za-z0-9]+)://)?(?:[^@/\s]*@)?(?:[^@/:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?"
)
_PROXY_SCHEMES: Final = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class MaxErrors:
    """How many failures a run may have and still be fine: a ``count``, or a ``percent`` of all."""

    count: int = 0
    percent: float | None = None

    def exceeded(self, failed: int, total: int) -> bool:
        """Whether ``failed`` of ``total`` records are more than is allowed."""
        if self.percent is None:
            return failed > self.count
        return failed * 100 > self.percent * total


def max_errors(text: str, option: str) -> MaxErrors:
    """Read ``10`` (records) or ``0.5%`` (of all records)."""
    stripped = text.strip()
    if _COUNT.fullmatch(stripped):
        return MaxErrors(count=int(stripped))
    if _PERCENT.fullmatch(stripped) and (percent := float(stripped[:-1])) <= 100:
        return MaxErrors(percent=percent)
    raise UsageError(f"{option}: {text!r} is no limit; give a count as 10, or a share as 0.5%")


def moment_s(text: str, option: str, *, now_s: float) -> float:
    """Seconds of the epoch of an ISO 8601 time or date, UTC where it names no zone, or of so long
    before ``now_s``: ``90s``, ``15m``, ``2h``, ``7d``.
    """
    stripped = text.strip()
    ago = _AGO.fullmatch(stripped)
    try:
        if ago is not None:
            return now_s - int(ago[1]) * _AGO_SECONDS[ago[2]]
        moment = datetime.fromisoformat(stripped)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option}: {text!r} is no time; give one as 2025-11-23T14:30 (UTC), "
            "2025-11-23T14:30+01:00, 2025-11-23, or as 15m, 2h or 7d ago"
        ) from None


def names(text: str, option: str) -> tuple[str, ...]:
    """Read ``a,b,c``: names parted by commas, each once, in the order given."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"{option}: {text!r} has an empty name; give columns as name,city")
    return tuple(dict.fromkeys(parts))


def all_names(texts: Iterable[str], option: str) -> tuple[str, ...]:
    """Read the names of an option that may be given several times."""
    return tuple(dict.fromkeys(name for text in texts for name in names(text, option)))


def count(text: str | None, option: str, *, least: int = 0) -> int | None:
    """Read a whole number of at least ``least``; None where there is none."""
    if text is None:
        return None
    if not _COUNT.fullmatch(text) or int(text) < least:
        of_at_least = f" of at least {least}" if least else ""
        raise UsageError(f"{option}: {text!r} is no count; give a whole number{of_at_least}")
    return int(text)


def weights(text: str, option: str) -> tuple[float, ...]:
    """Read ``8,2`` or ``0.5,1,1``: numbers from 0 up, parted by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(_WEIGHT.fullmatch(part) for part in parts):
        raise UsageError(f"{option}: {text!r} are no weights; give a number a URL, as 8,2")
    return tuple(map(float, parts))


def headers(texts: tuple[str, ...], option: str) -> Iterator[tuple[str, str]]:
    """Read ``Name: value`` texts and ``@file`` ones, which hold one header a line."""
    for number, text in enumerate(texts, start=1):
        if not text.startswith("@"):
            yield header(text, f"{option} number {number}")
            continue
        for line_number, line in enumerate(_text_of(text, option).split("\n"), start=1):
            if line.strip():
                yield header(line, f"{option} {text}, line {line_number}")


def header(text: str, where: str) -> tuple[str, str]:
    """Read one ``Name: value`` (RFC 9110, section 5); ``${ENV}`` in the value is expanded."""
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon:
        raise UsageError(f"{where}: no colon in it; give a header as 'Accept: application/json'")
    if not _TOKEN.fullmatch(name):
        raise UsageError(
            f"{where}: what stands before the colon is no header name (letters, digits and -); "
            "give a header as 'Accept: application/json'"
        )
    value = expand_env(value, f"{where} ({name})").strip()
    if _CONTROL.search(value):
        raise UsageError(
            f"{where} ({name}): the value holds a line break or control character; remove it"
        )
    return name, value


def user_password(text: str, option: str) -> tuple[str, str]:
    """Read ``user:password`` (RFC 7617: the user holds no colon, the password may)."""
    user, colon, password = expand_env(text, option).partition(":")
    if not colon:
        raise UsageError(f"{option}: no colon in it; give user:password, or user:'${{PASSWORD}}'")
    if _CONTROL.search(user + password):
        raise UsageError(f"{option}: it holds a line break or control character; remove it")
    return user, password


def bearer_token(text: str, option: str) -> str:
    """Read a bearer token (RFC 6750): visible ASCII, no spaces."""
    token = expand_env(text, option).strip()
    if not token:
        raise UsageError(f"{option}: the token is empty; give it as {option} '${{API_TOKEN}}'")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{option}: the token holds a space or a character that is not printable ASCII; give "
            f"the token alone, without the word Bearer, as {option} '${{API_TOKEN}}'"
        )
    return token


def cookies(texts: tuple[str, ...], option: str) -> Iterator[str]:
    """Read ``a=b`` and ``a=b; c=d`` texts (RFC 6265, section 4.2.1) to single ``name=value``."""
    for number, text in enumerate(texts, start=1):
        where = f"{option} number {number}"
        for pair in expand_env(text, where).split(";"):
            name, equals, value = pair.strip().partition("=")
            if not equals or not _TOKEN.fullmatch(name.strip()) or _CONTROL.search(value):
                raise UsageError(f"{where}: it is no name=value; give a cookie as 'session=abc'")
            yield f"{name.strip()}={value.strip()}"


def proxy(text: str, option: str) -> str:
    """Read ``[scheme://][user:password@]host[:port]``; the scheme is http where none is given."""
    url = expand_env(text, option)
    match = _PROXY.fullmatch(url)
    if match is None:
        raise UsageError(f"{option}: it is no proxy; give one as http://proxy.test:3128")
    if match[1] is not None and match[1].lower() not in _PROXY_SCHEMES:
        raise UsageError(
            f"{option}: {match[1]!r} is no proxy scheme; give one of {', '.join(_PROXY_SCHEMES)}"
        )
    return url if match[1] else f"http://{url}"


def body(text: str, option: str) -> bytes:
    """Read a request body: the text itself, ``@file`` or ``@-`` (standard input), as it is."""
    if text.startswith("@"):
        return _read(text, option)
    return text.encode("utf-8", "surrogateescape")


def json_body(text: str, option: str) -> bytes:
    """Read a body as ``body`` does and hold it to JSON (RFC 8259) in UTF-8; sent as given."""
    import json

    data = body(text, option)
    try:
        json.loads(data.decode(), parse_constant=_no_constant, parse_int=str, parse_float=str)
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise UsageError(
            f"{option}: not JSON at {place}: {exc.msg.lower()}; {_JSON_FORM}"
        ) from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{option}: not UTF-8 at byte {exc.start}; {_JSON_FORM}") from None
    except ValueError:
        raise UsageError(f"{option}: NaN and Infinity are not JSON; {_JSON_FORM}") from None
    except RecursionError:
        raise UsageError(f"{option}: nested too deep to be checked; send it with --data") from None
    return data


_JSON_FORM: Final = """give it as '{"name": "value"}' or @file.json"""


def _no_constant(name: str) -> object:
    raise ValueError(name)


def existing_file(path: str | None, option: str) -> str | None:
    """Hold ``path`` to be a file that can be read; None passes."""
    if path is None:
        return None
    if not os.path.exists(path):
        raise UsageError(f"{option} {path}: no such file; check the path")
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        raise UsageError(f"{option} {path}: not a file that can be read; check its permissions")
    return path


def existing_socket(path: str | None, option: str) -> str | None:
    """Hold ``path`` to be a Unix domain socket; None passes."""
    import stat

    if path is None:
        return None
    if not os.path.exists(path):
        raise UsageError(f"{option} {path}: no such socket; is its server running?")
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise UsageError(f"{option} {path}: not a socket; give the path that a server listens on")
    return path


def _text_of(source: str, option: str) -> str:
    try:
        return _read(source, option).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(f"{option} {source}: not UTF-8 at byte {exc.start}") from None


def _read(source: str, option: str) -> bytes:
    """Read ``@file`` or ``@-``."""
    path = source[1:]
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(f"{option} @{path}: cannot read it: {reason.lower()}") from None
