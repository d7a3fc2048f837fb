"""What a URL must be to go on the wire, and how one is shown without its secrets.

``wire_url`` is the only judge: what it lets through is ASCII, holds no control character, no
credentials and no fragment, and libcurl takes it as it stands; all else is an ``InvalidUrl`` with
a reason in one line. It guesses no scheme and repairs no host. Reasons are fixed texts or pass
through ``mask``, so that no password reaches a record. ``idna`` is known here and nowhere else.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

BLANKS: Final = " \t\r\n"
"""What may stand around a URL and is taken off: blanks and the line's end."""

MAX_URL_LENGTH: Final = 1_000_000
"""Characters on the wire. libcurl refuses to build a request of more than 1 MiB in all."""

MASK: Final = "***"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_KNOWN_SCHEMES: Final = frozenset(
    ("about", "blob", "data", "file", "ftp", "javascript", "mailto", "tel", "urn")
)
_KEPT: Final = "-._~!$&'()*+,;=:@/?[]"
"""Left as they are in path and query: RFC 3986 ``pchar``, ``/`` and ``?``, and, as browsers and
requests do, square brackets."""

# Possessive quantifiers: each character is looked at once, whatever the input.
_ORDINARY: Final = re.compile(
    r"(https?://[a-z0-9._-]++(?::[1-9][0-9]{0,4}+)?+)"
    rf"/[A-Za-z0-9{re.escape(_KEPT)}]*+(?:%[0-9A-Fa-f]{{2}}[A-Za-z0-9{re.escape(_KEPT)}]*+)*+"
)
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")
_PARTS: Final = re.compile(r"([^/?#]*+)([^?#]*+)(\?[^#]*+)?(#.*)?", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LONE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_HOST: Final = re.compile(r"[^a-z0-9._-]")
_BRACKETED: Final = re.compile(r"\[([^\]]*)\](?::(.*))?", re.DOTALL)
_ZONE: Final = re.compile(r"[A-Za-z0-9._~-]{1,15}")


class InvalidUrl(ValueError):
    """A text that is no fetchable URL; ``str()`` is the reason in one line, without secrets."""


class WireUrl(NamedTuple):
    """A URL that can be fetched.

    ``url`` goes on the wire: ASCII, host in lower case and punycode, a path of at least ``/``,
    unsafe characters percent-encoded as UTF-8, no userinfo, no fragment. ``origin`` is
    ``scheme://host:port``, the port always written. ``credentials`` are the userinfo as (user,
    password), percent-decoded. ``shown`` is what the user wrote, its userinfo masked.
    """

    url: str
    origin: str
    credentials: tuple[str, str] | None
    shown: str


def wire_url(text: str) -> WireUrl:
    """Check ``text`` and make it ready for the wire (RFC 3986; hosts as RFC 5891 and UTS 46).

    Blanks and line ends around it are dropped. Raises ``InvalidUrl``. An ordinary ASCII URL costs
    0.4-0.8 us: one match, and its origin is remembered.
    """
    ordinary = _ORDINARY.fullmatch(text)
    if ordinary is not None and len(text) <= MAX_URL_LENGTH:
        return WireUrl(text, _plain_origin(ordinary[1]), None, text)
    return _any_url(text.strip(BLANKS))


def host_of(url: str) -> str:
    """Give the host and port that a request for a URL goes to, however they are written.

    What is no URL gives the empty text: it will not be requested.
    """
    try:
        return wire_url(url).origin.partition("://")[2]
    except InvalidUrl:
        return ""


def is_ordinary(text: str) -> bool:
    """Tell whether ``wire_url`` would leave ``text`` as it is, for less than it costs."""
    ordinary = _ORDINARY.fullmatch(text)
    if ordinary is None or len(text) > MAX_URL_LENGTH:
        return False
    try:
        _plain_origin(ordinary[1])
    except InvalidUrl:
        return False
    return True


@lru_cache(maxsize=4096)
def _plain_origin(prefix: str) -> str:
    """The origin of ``scheme://host[:port]`` as the regex for ordinary URLs leaves it."""
    scheme, _, authority = prefix.partition("://")
    host, port = _host_and_port(authority)
    return f"{scheme}://{host}:{port or _DEFAULT_PORTS[scheme]}"


def _any_url(text: str) -> WireUrl:
    """The long way, for all that is not ordinary; each step raises its own reason."""
    _check_characters(text)
    scheme, rest = _split_scheme(text)
    parts = _PARTS.fullmatch(rest)
    assert parts is not None  # the pattern takes every text
    authority, path, query = parts[1], parts[2], parts[3] or ""
    if "\\" in authority:
        raise InvalidUrl("a backslash before the path: use / (in a password write %5C)")
    userinfo, at, hostport = authority.rpartition("@")
    host, port = _host_and_port(hostport)
    colon_port = f":{port}" if port else ""
    url = f"{scheme}://{host}{colon_port}{_encoded(path) or '/'}{_encoded(query)}"
    if len(url) > MAX_URL_LENGTH:
        raise InvalidUrl(f"{len(url):,} characters long: at most {MAX_URL_LENGTH:,} can be sent")
    return WireUrl(
        url=url,
        origin=f"{scheme}://{host}:{port or _DEFAULT_PORTS[scheme]}",
        credentials=_credentials(userinfo),
        shown=f"{text[: -len(rest)]}{MASK}@{rest[len(userinfo) + 1 :]}" if at else text,
    )


def _check_characters(text: str) -> None:
    if not text:
        raise InvalidUrl("empty: there is no URL here")
    if bad := _CONTROL.search(text):
        raise InvalidUrl(f"control character U+{ord(bad[0]):04X} at position {bad.start()}")
    if bad := _SURROGATE.search(text):
        raise InvalidUrl(f"not valid UTF-8 at position {bad.start()}")


def _split_scheme(text: str) -> tuple[str, str]:
    """``("http" or "https", what follows "//")``."""
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    rest = text[match.end() :] if match else text
    if scheme not in _DEFAULT_PORTS:
        if (scheme and rest.startswith("//")) or scheme in _KNOWN_SCHEMES:
            raise InvalidUrl(f"scheme {scheme[:20]!r}: only http:// and https:// are fetched")
        if text[0] in "{[":
            raise InvalidUrl("JSON, not a URL: a row that is cut off, or lacks what the URL is of")
        suggestion = mask("http://" + text.lstrip("/"))
        raise InvalidUrl(f"no scheme: write http:// in front, as {_shortened(suggestion)!r}")
    if not rest.startswith("//"):
        raise InvalidUrl(f"two slashes are missing after {scheme}:")
    return scheme, rest[2:]


def _shortened(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _host_and_port(hostport: str) -> tuple[str, int | None]:
    """The host for the wire and the port if one is written. No reason quotes what it refuses:
    with a stray ``/`` in a password, this is a piece of the password."""
    if hostport.startswith("["):
        bracketed = _BRACKETED.fullmatch(hostport)
        if bracketed is None:
            raise InvalidUrl("an IPv6 address in the host is not closed by ]")
        return f"[{_ipv6(bracketed[1])}]", _port(bracketed[2] or "")
    host, _, port = hostport.partition(":")
    if ":" in port:
        raise InvalidUrl("more than one colon in the host: an IPv6 address needs [brackets]")
    return _host_name(host), _port(port)


def _port(digits: str) -> int | None:
    """None for the empty port that RFC 3986 allows after a colon."""
    if not digits:
        return None
    if digits.isascii() and digits.isdigit():
        significant = digits.lstrip("0")
        if len(significant) <= 5 and 1 <= int(significant or "0") <= 65535:
            return int(significant)
    raise InvalidUrl("the port is not a number from 1 to 65535 (in a password, write / as %2F)")


def _ipv6(inner: str) -> str:
    """A canonical IPv6 address, its zone (RFC 6874, ``%25eth0``) kept."""
    address, percent, zone = inner.partition("%25")
    if not inner.isascii() or (percent and _ZONE.fullmatch(zone) is None):
        raise InvalidUrl("no IPv6 address stands between the brackets of the host")
    try:
        packed = socket.inet_pton(socket.AF_INET6, address)
    except OSError:
        raise InvalidUrl("no IPv6 address stands between the brackets of the host") from None
    return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone


def _host_name(host: str) -> str:
    if len(host) > 254:
        raise InvalidUrl("the host is longer than 253 characters")
    ascii_host = (host if host.isascii() else _punycoded(host)).lower()
    if bad := _NOT_IN_HOST.search(ascii_host):
        raise InvalidUrl(f"{bad[0]!r} cannot stand in a host")
    name = ascii_host.removesuffix(".")
    if not name:
        raise InvalidUrl("the host is empty")
    if len(name) > 253:
        raise InvalidUrl("the host is longer than 253 characters")
    for label in name.split("."):
        if not label:
            raise InvalidUrl("the host has an empty label (a dot too many)")
        if len(label) > 63:
            raise InvalidUrl(f"a label of the host has {len(label)} characters: 63 is the most")
    return ascii_host


def _punycoded(host: str) -> str:
    """``host`` as DNS carries it. ASCII labels stay, also those IDNA would refuse (``_dmarc``)."""
    import idna  # here: its tables take 10 ms to load and most lists never need them

    try:
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels
        )
    except UnicodeError:
        raise InvalidUrl("the host is no valid international domain name (IDNA 2008)") from None


def _credentials(userinfo: str) -> tuple[str, str] | None:
    """(user, password) for HTTP Basic (RFC 7617), None where nothing is written."""
    user, _, password = userinfo.partition(":")
    if not user and not password:
        return None
    if "@" in userinfo:
        raise InvalidUrl("more than one @ before the path: in a user or password write %40")
    if any(ch.isspace() for ch in userinfo):
        raise InvalidUrl("a blank in the user or password: write %20")
    if _LONE_PERCENT.search(userinfo):
        raise InvalidUrl("a lone % in the user or password: write %25")
    try:
        decoded = unquote(user, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise InvalidUrl("the user or password is not percent-encoded UTF-8") from None
    if ":" in decoded[0]:
        raise InvalidUrl("a colon in the user: HTTP Basic authentication cannot carry it")
    if _CONTROL.search(decoded[0] + decoded[1]):
        raise InvalidUrl("a control character in the user or password")
    return decoded


def _encoded(part: str) -> str:
    """Path or query with unsafe characters percent-encoded; an existing ``%XX`` stays."""
    return quote(_LONE_PERCENT.sub("%25", part), safe=_KEPT + "%")


def join(base: str, location: str) -> str:
    """The target of a ``Location`` header found at ``base`` (RFC 3986, 5.2.2, strict).

    ``location`` is the header's bytes decoded as latin-1; bytes that are UTF-8 are read as such,
    others percent-encoded one by one. Never raises: ``wire_url`` is to judge the outcome.
    """
    location = _reread(location).strip(BLANKS)
    scheme = _SCHEME.match(location)
    if scheme is not None:
        return location
    base_scheme, base_authority, base_path, base_query = _split(base)
    if location.startswith("//"):
        return f"{base_scheme}:{location}"
    _, _, path, query = _split(location)
    if not path:
        path, query = base_path, query or base_query
    elif path.startswith("/"):
        path = _without_dots(path)
    else:
        path = _without_dots(base_path[: base_path.rfind("/") + 1] + path)
    return f"{base_scheme}://{base_authority}{path}{query}"


def _reread(location: str) -> str:
    """Header text, decoded as latin-1 on the way in, as what its bytes were meant to say."""
    if location.isascii():
        return location
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return "".join(ch if ch.isascii() else f"%{ord(ch):02X}" for ch in location)
    except UnicodeEncodeError:
        return location  # it was never latin-1: someone has decoded it already


def _split(url: str) -> tuple[str, str, str, str]:
    """(scheme, authority, path, query with its ``?``); what is missing is empty."""
    match = _SCHEME.match(url)
    rest = url[match.end() :] if match else url
    has_authority = rest.startswith("//")
    parts = _PARTS.fullmatch(rest, 2 if has_authority else 0)
    assert parts is not None  # the pattern takes every text
    authority, path = (parts[1], parts[2]) if has_authority else ("", parts[1] + parts[2])
    return match[1] if match else "", authority, path, parts[3] or ""


def _without_dots(path: str) -> str:
    """``path`` (of which a missing first ``/`` is added) with ``.`` and ``..`` resolved."""
    kept: list[str] = []
    *folders, last = path.removeprefix("/").split("/")
    for segment in folders:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if last == "..":
        del kept[-1:]
    kept.append("" if last in (".", "..") else last)
    return "/" + "/".join(kept)


_WHOLE_URL: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*+:[/\\]")
_USERINFO: Final = re.compile(r"([/\\]{2}|:[/\\])[^/?#]*@")
_BARE_USERINFO: Final = re.compile(r"(?<![^\"'(<,=])[^/?#\"'(<,=@]+@")
_BROKEN_USERINFO: Final = re.compile(r"(^|//)[^/?#@:\[]*+:(?!\d{0,5}(?:[/?#\s]|$))[^/?#@]*+[/?#]")
"""``//user:`` with something other than a port before the path: a password holding ``/?#``."""


def mask(text: str) -> str:
    """``text`` with the userinfo of every URL in it shown as ``***``, broken URLs too.

    For messages and for URLs that ``wire_url`` refused. In doubt it hides too much: a password may
    hold the very ``/`` or blank that makes its URL invalid.
    """
    if "@" not in text:
        return text
    if _WHOLE_URL.match(text):
        return _masked_token(text)
    return "".join(_masked_token(token) for token in re.split(r"(\s+)", text))


def _masked_token(token: str) -> str:
    last_at = token.rfind("@")
    if last_at < 0:
        return token
    if broken := _BROKEN_USERINFO.search(token, 0, last_at):
        return f"{token[: broken.end(1)]}{MASK}{token[last_at:]}"
    token = _USERINFO.sub(rf"\g<1>{MASK}@", token)
    return _BARE_USERINFO.sub(f"{MASK}@", token)
