"""What every exchange of a run has in common, as plain values: headers, secrets, proxies, TLS.

What the user gave goes to a target's own origin only; what goes anywhere else (``neutral_headers``)
tells nothing about the user. Options are read here; what a ``requests.Session`` holds besides them
comes as ``Held``, and the options win over it.
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from crawler.errors import SessionError
from crawler.settings import Settings

Headers = tuple[tuple[str, str], ...]
Proxies = tuple[str | None, str | None]
Cert = tuple[str, str] | str

_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What every exchange of a run has in common; can be pickled.

    ``headers`` are all that goes to a target's own origin, ``neutral_headers`` all that goes
    elsewhere: one or the other, never both. ``proxies`` are URLs for (http, https), None within
    for a direct connection; None alone for what the environment says. ``verify`` is True, False
    or the path of a CA bundle; ``cert`` a path or (certificate, key). ``params`` belong to every
    target's URL (``with_params``). With ``scoped_cookies`` some cookies are for certain hosts or
    paths only: ask ``session.cookie_header`` for each target.
    """

    headers: Headers
    neutral_headers: Headers
    proxies: Proxies | None = None
    verify: bool | str = True
    cert: Cert | None = None
    params: Headers = ()
    scoped_cookies: bool = False

    def __repr__(self) -> str:
        """Name what is there; values may be secrets and are left out."""
        return (
            f"Profile(headers={_names(self.headers)}, "
            f"neutral_headers={_names(self.neutral_headers)}, "
            f"proxies={'from the environment' if self.proxies is None else 'given'}, "
            f"verify={self.verify!r}, cert={'given' if self.cert else None}, "
            f"params={_names(self.params)}, scoped_cookies={self.scoped_cookies})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """What a session holds besides the options; without a session nothing.

    ``cookies`` are those that go to every target, ``credentials`` the header of Basic
    authentication; ``dropped`` are names, in lower case, of headers that are not to be sent.
    """

    cookies: Headers = ()
    headers: Headers = ()
    credentials: Headers = ()
    dropped: frozenset[str] = frozenset()
    proxies: Proxies | None = None
    verify: bool | str = True
    trusts_environment: bool = True
    cert: Cert | None = None
    params: Headers = ()
    scoped_cookies: bool = False


NOTHING_HELD: Final = Held()


def profile_of(settings: Settings, held: Held = NOTHING_HELD) -> Profile:
    """Put together what an engine needs; raises ``SessionError`` for what cannot be sent."""
    neutral = _neutral_headers(settings)
    own = _own_headers(settings, held)
    named = held.dropped | {name.lower() for name, _ in own}
    verify = _verify(settings, held)
    if isinstance(verify, str):
        _check_path("CA bundle", "--cacert", verify)
    return Profile(
        headers=(*(pair for pair in neutral if pair[0].lower() not in named), *own),
        neutral_headers=neutral,
        proxies=held.proxies if settings.proxy is None else (settings.proxy, settings.proxy),
        verify=verify,
        cert=_checked_cert(given_cert(settings) or held.cert),
        params=held.params,
        scoped_cookies=held.scoped_cookies,
    )


def environment_proxies() -> dict[str, str]:
    """Give the proxies of the environment, or of the system, by scheme."""
    if sys.platform == "linux" and not any(n.lower().endswith("_proxy") for n in os.environ):
        return {}  # what would find out the same has http and email imported for it
    from urllib.request import getproxies

    return getproxies()


def check_direct(settings: Settings, held: Held = NOTHING_HELD, through: str | None = None) -> None:
    """Raise ``SessionError`` where ``--block-private`` could not see where connections go.

    ``through`` names what of a session connects for itself.
    """
    if not settings.block_private:
        return
    named = {"http", "https", "all"} & environment_proxies().keys()
    if through is None and held.trusts_environment and named:
        through = "the environment's proxies (unset http_proxy, https_proxy and all_proxy)"
    if through is not None:
        raise SessionError(
            f"--block-private looks at the address that is connected to, and {through} would "
            "connect for themselves: do without the one or the other"
        )


def ca_bundle() -> str:
    """Give the path of the CA bundle that requests trusts when nothing else is said."""
    import certifi

    return certifi.where()


def given_cert(settings: Settings) -> Cert | None:
    """Give the client certificate of the options."""
    if settings.cert is not None and settings.key is not None:
        return settings.cert, settings.key
    return settings.cert


def basic(user: str | bytes, password: str | bytes) -> Headers:
    """The header of Basic authentication (RFC 7617, in UTF-8)."""
    pair = (part if isinstance(part, bytes) else part.encode() for part in (user, password))
    return (("Authorization", f"Basic {b64encode(b':'.join(pair)).decode('ascii')}"),)


def cookie_of(text: str) -> tuple[str, str]:
    """Read NAME=VALUE. Raises ``SessionError`` for another form."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or any(ch in "\r\n\0;" for ch in text):
        raise SessionError(f"--cookie {name!r}: the form is NAME=VALUE, one cookie each")
    return name.strip(), value.strip()


def with_params(url: str, params: Headers) -> str:
    """Append ``params`` to the URL's query, percent-encoded as UTF-8."""
    if not params:
        return url
    front, mark, fragment = url.partition("#")
    joint = "" if front.endswith(("?", "&")) else "&" if "?" in front else "?"
    return f"{front}{joint}{urlencode(params)}{mark}{fragment}"


def _names(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [name for name, _ in pairs]


def _neutral_headers(settings: Settings) -> Headers:
    return (
        ("User-Agent", settings.user_agent),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate" if settings.compression else "identity"),
    )


def _own_headers(settings: Settings, held: Held) -> Headers:
    """The user's own headers, each later source winning over those before."""
    given = dict(map(cookie_of, settings.cookies))
    sources = (
        _cookie_header(dict(held.cookies)),
        held.headers,
        held.credentials,
        _credentials(settings),
        _cookie_header({**dict(held.cookies), **given}) if given else (),
        settings.headers,
    )
    chosen: Headers = ()
    for source in sources:
        named = {name.lower() for name, _ in source}
        chosen = (*(pair for pair in chosen if pair[0].lower() not in named), *source)
    for name, value in chosen:
        _check_header(name, value)
    return chosen


def _cookie_header(cookies: dict[str, str]) -> Headers:
    if not cookies:
        return ()
    return (("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())),)


def _credentials(settings: Settings) -> Headers:
    if settings.bearer is not None:
        return (("Authorization", f"Bearer {settings.bearer}"),)
    return () if settings.user is None else basic(*settings.user)


def _check_header(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise SessionError(f"header {name}: got {type(value).__name__}, give a str")
    if any(ch in "\r\n\0" for ch in name + value):
        raise SessionError(f"header {name!r}: holds a line break or NUL; remove it")


def _verify(settings: Settings, held: Held) -> bool | str:
    if not settings.verify_tls:
        return False
    if settings.cacert is not None:
        return settings.cacert
    if held.verify is not True:
        return held.verify
    bundles = (os.environ.get(name) for name in _CA_VARIABLES if held.trusts_environment)
    return next((path for path in bundles if path), True)


def _checked_cert(cert: Cert | None) -> Cert | None:
    for path in (cert,) if isinstance(cert, str) else cert or ():
        _check_path("client certificate or key", "--cert, --key", path)
    return cert


def _check_path(what: str, option: str, path: str) -> None:
    if not os.path.exists(path):
        raise SessionError(f"{what} {path!r} does not exist: give a readable file ({option})")
