"""What a ``requests.Session`` means to an engine.

Users speak ``requests.Session`` or options; an engine is told plain values, in a ``Profile``. What
a session holds goes to a target's own origin only; what goes anywhere else (``neutral_headers``)
tells nothing about the user. Where both say something, the options win over the session.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qsl, urlencode
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.cookies import get_cookie_header
from requests.utils import DEFAULT_CA_BUNDLE_PATH, default_headers

from crawler.errors import SessionError
from crawler.settings import Settings

Headers = tuple[tuple[str, str], ...]

_REAL_SEND: Final = HTTPAdapter.send
_DEFAULTS: Final = dict(default_headers().lower_items())
_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What every exchange of a run has in common; can be pickled.

    ``headers`` are all that goes to a target's own origin, ``neutral_headers`` all that goes
    elsewhere: one or the other, never both. ``proxies`` are URLs for (http, https), None within
    for a direct connection; None alone for what the environment says. ``verify`` is True, False
    or the path of a CA bundle; ``cert`` a path or (certificate, key). ``params`` belong to every
    target's URL (``with_params``). With ``scoped_cookies`` some cookies are for certain hosts or
    paths only: ask ``cookie_header`` for each target.
    """

    headers: Headers
    neutral_headers: Headers
    proxies: tuple[str | None, str | None] | None = None
    verify: bool | str = True
    cert: tuple[str, str] | str | None = None
    params: tuple[tuple[str, str], ...] = ()
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


def _names(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [name for name, _ in pairs]


def build_session(settings: Settings) -> requests.Session:
    """Make the session that the options describe. Raises ``SessionError``."""
    session = requests.Session()
    session.headers["User-Agent"] = settings.user_agent
    if settings.bearer is not None:
        session.headers["Authorization"] = f"Bearer {settings.bearer}"
    for name, value in settings.headers:
        session.headers[name] = value
    if settings.user is not None:
        session.auth = settings.user
    for cookie in settings.cookies:
        name, value = _cookie(cookie)
        session.cookies.set(name, value)
    if settings.proxy is not None:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.verify = settings.verify_tls and (settings.cacert or True)
    session.cert = _cert(settings)
    session.max_redirects = settings.max_redirects
    return session


def profile(session: requests.Session, settings: Settings) -> Profile:
    """Read off what an engine needs. Raises ``SessionError`` for what no request could carry."""
    neutral = _neutral_headers(settings)
    own, dropped = _own_headers(session, settings)
    named = dropped | {name.lower() for name, _ in own}
    verify = _verify(session, settings)
    if isinstance(verify, str):
        _check_path("CA bundle", "--cacert", verify)
    return Profile(
        headers=(*(pair for pair in neutral if pair[0].lower() not in named), *own),
        neutral_headers=neutral,
        proxies=_proxies(session, settings),
        verify=verify,
        cert=_checked_cert(_cert(settings) or _path_or_pair(session.cert)),
        params=tuple(_param_pairs(session.params)),
        scoped_cookies=any(not _goes_everywhere(cookie) for cookie in session.cookies),
    )


def _neutral_headers(settings: Settings) -> Headers:
    return (
        ("User-Agent", settings.user_agent),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate" if settings.compression else "identity"),
    )


def _own_headers(session: requests.Session, settings: Settings) -> tuple[Headers, frozenset[str]]:
    """The user's own headers, each later source winning, and names set to None: not to be sent."""
    sources = (
        _cookie_pair(session, ()),
        [(_text(name), _text(value)) for name, value in _changed_headers(session, settings)],
        _basic(session.auth),
        _credentials(settings),
        _cookie_pair(session, settings.cookies) if settings.cookies else [],
        list(settings.headers),
    )
    chosen: list[tuple[str, str]] = []
    for source in sources:
        named = {name.lower() for name, _ in source}
        chosen = [pair for pair in chosen if pair[0].lower() not in named] + source
    for name, value in chosen:
        _check_header(name, value)
    dropped = {_text(name).lower() for name, value in session.headers.items() if value is None}
    return tuple(chosen), frozenset(dropped - {name.lower() for name, _ in chosen})


def _changed_headers(session: requests.Session, settings: Settings) -> Iterable[tuple[Any, Any]]:
    """What the user put into ``session.headers``: requests' defaults and ours left out."""
    for name, value in session.headers.items():
        key = _text(name).lower()
        ours = key == "user-agent" and value == settings.user_agent
        if value is not None and _DEFAULTS.get(key) != value and not ours:
            yield name, value


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _check_header(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise SessionError(f"header {name}: got {type(value).__name__}, give a str")
    if any(ch in "\r\n\0" for ch in name + value):
        raise SessionError(f"header {name!r}: holds a line break or NUL; remove it")


def _credentials(settings: Settings) -> list[tuple[str, str]]:
    if settings.bearer is not None:
        return [("Authorization", f"Bearer {settings.bearer}")]
    return _basic(settings.user)


def _basic(auth: object) -> list[tuple[str, str]]:
    """The header of Basic authentication (RFC 7617, in UTF-8); nothing for another scheme."""
    pair = (auth.username, auth.password) if type(auth) is HTTPBasicAuth else auth
    if not _is_user_and_password(pair):
        return []
    user, password = (part if isinstance(part, bytes) else str(part).encode() for part in pair)
    token = b64encode(user + b":" + password).decode("ascii")
    return [("Authorization", f"Basic {token}")]


def _is_user_and_password(auth: object) -> TypeGuard[tuple[str | bytes, str | bytes]]:
    return isinstance(auth, tuple) and len(auth) == 2


def _cookie(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or any(ch in "\r\n\0;" for ch in text):
        raise SessionError(f"--cookie {name!r}: the form is NAME=VALUE, one cookie each")
    return name.strip(), value.strip()


def _cookie_pair(session: requests.Session, given: tuple[str, ...]) -> list[tuple[str, str]]:
    """The Cookie header of the jar's cookies that go to every target and of the ones given."""
    cookies = {c.name: c.value or "" for c in session.cookies if _goes_everywhere(c)}
    cookies.update(_cookie(text) for text in given)
    if not cookies:
        return []
    return [("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))]


def _goes_everywhere(cookie: Any) -> bool:  # noqa: ANN401 - http.cookiejar.Cookie
    return not cookie.domain and cookie.path == "/" and not cookie.secure and not cookie.expires


def cookie_header(session: requests.Session, url: str) -> str | None:
    """Give the Cookie header of the session's jar for one URL, None without any (RFC 6265, 5.4)."""
    if not len(session.cookies):
        return None
    request = requests.Request("GET", url)
    header: str | None = get_cookie_header(session.cookies, request)  # type: ignore[no-untyped-call]
    return header


def _proxies(session: requests.Session, settings: Settings) -> tuple[str | None, str | None] | None:
    if settings.proxy is not None:
        return settings.proxy, settings.proxy
    given = session.proxies
    if not given and session.trust_env:
        return None
    both = given.get("all")
    return given.get("http", both), given.get("https", both)


def _verify(session: requests.Session, settings: Settings) -> bool | str:
    if not settings.verify_tls:
        return False
    if settings.cacert is not None:
        return settings.cacert
    if session.verify is False or isinstance(session.verify, str):
        return session.verify
    bundles = (os.environ.get(name) for name in _CA_VARIABLES if session.trust_env)
    return next((path for path in bundles if path), True)


def _cert(settings: Settings) -> tuple[str, str] | str | None:
    if settings.cert is not None and settings.key is not None:
        return settings.cert, settings.key
    return settings.cert


def _checked_cert(cert: tuple[str, str] | str | None) -> tuple[str, str] | str | None:
    for path in (cert,) if isinstance(cert, str) else cert or ():
        _check_path("client certificate or key", "--cert, --key", path)
    return cert


def _check_path(what: str, option: str, path: str) -> None:
    if not os.path.exists(path):
        raise SessionError(f"{what} {path!r} does not exist: give a readable file ({option})")


def _path_or_pair(cert: Any) -> tuple[str, str] | str | None:  # noqa: ANN401 - as requests takes it
    return cert if cert is None or isinstance(cert, str) else (cert[0], cert[1])


def _param_pairs(params: Any) -> Iterable[tuple[str, str]]:  # noqa: ANN401 - as requests takes it
    """``session.params`` as pairs, read as requests reads them: lists repeat, None drops."""
    if isinstance(params, str | bytes):
        params = parse_qsl(_text_of(params), keep_blank_values=True)
    pairs = params.items() if isinstance(params, Mapping) else params or ()
    for name, value in pairs:
        many = value if isinstance(value, list | tuple | set) else [value]
        yield from ((str(name), _text_of(one)) for one in many if one is not None)


def _text_of(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def with_params(url: str, params: tuple[tuple[str, str], ...]) -> str:
    """Append ``params`` to the URL's query, percent-encoded as UTF-8."""
    if not params:
        return url
    front, mark, fragment = url.partition("#")
    joint = "" if front.endswith(("?", "&")) else "&" if "?" in front else "?"
    return f"{front}{joint}{urlencode(params)}{mark}{fragment}"


def ca_bundle() -> str:
    """Give the path of the CA bundle that requests trusts when nothing else is said."""
    return str(DEFAULT_CA_BUNDLE_PATH)


def check_direct(session: requests.Session, settings: Settings) -> None:
    """Raise ``SessionError`` where ``--block-private`` could not see where connections go."""
    if not settings.block_private:
        return
    if _proxies(session, settings) not in (None, (None, None)) or session.proxies:
        through = "the session's proxies"
    elif session.trust_env and {"http", "https", "all"} & getproxies().keys():
        through = "the environment's proxies (unset http_proxy, https_proxy and all_proxy)"
    elif any(type(adapter) is not HTTPAdapter for adapter in session.adapters.values()):
        through = "a mounted adapter"
    elif any(_is_own(type(session), method) for method in ("send", "get_adapter")):
        through = f"the send() or get_adapter() of {type(session).__name__}"
    else:
        return
    raise SessionError(
        f"--block-private looks at the address that is connected to, and {through} would connect "
        "for themselves: do without the one or the other"
    )


def _is_own(kind: type[requests.Session], method: str) -> bool:
    return getattr(kind, method) is not getattr(requests.Session, method)


def beyond_curl(session: requests.Session) -> str | None:
    """Tell what the session holds that libcurl cannot do, None when it can do all of it."""
    if HTTPAdapter.send is not _REAL_SEND:
        return "requests is mocked (HTTPAdapter.send is replaced)"
    for prefix, adapter in session.adapters.items():
        if type(adapter) is not HTTPAdapter:
            return f"the adapter {type(adapter).__name__} is mounted on {prefix}"
    if session.hooks.get("response"):
        return "it has response hooks"
    auth = session.auth
    if auth is not None and type(auth) is not HTTPBasicAuth and not _is_user_and_password(auth):
        return f"it authenticates with {getattr(auth, '__name__', type(auth).__name__)}"
    for method in ("send", "get_adapter"):
        if _is_own(type(session), method):
            return f"its class {type(session).__name__} has a {method}() of its own"
    scoped = set(session.proxies) - {"http", "https", "all"}
    if scoped:
        return f"it has a proxy for {min(scoped)} alone"
    return None
