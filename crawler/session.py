"""What a ``requests.Session`` means to an engine: what it holds, and what libcurl cannot do of it.

Users speak ``requests.Session`` or options; an engine is told plain values, in a ``Profile``. This
is imported where there is a session, or may be: options alone are read without requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qsl

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.cookies import get_cookie_header
from requests.utils import default_headers

from crawler.profile import (
    Cert,
    Headers,
    Held,
    Profile,
    Proxies,
    basic,
    cookie_of,
    given_cert,
    profile_of,
)
from crawler.settings import Settings

_DEFAULTS: Final = dict(default_headers().lower_items())
_MOCKED: Final = (
    (HTTPAdapter, "send", requests.adapters),
    (requests.Session, "get_adapter", requests.sessions),
)
"""What libraries that mock requests replace, and the modules that the real ones are from."""


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
        name, value = cookie_of(cookie)
        session.cookies.set(name, value)
    if settings.proxy is not None:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    session.verify = settings.verify_tls and (settings.cacert or True)
    session.cert = given_cert(settings)
    session.max_redirects = settings.max_redirects
    return session


def profile(session: requests.Session, settings: Settings) -> Profile:
    """Read off what an engine needs. Raises ``SessionError`` for what no request could carry."""
    return profile_of(settings, held_by(session, settings))


def held_by(session: requests.Session, settings: Settings) -> Held:
    """Read what a session holds; what it says as a new one, or as the options do, is left out."""
    headers = tuple((_text(name), _text(value)) for name, value in _changed(session, settings))
    dropped = {_text(name).lower() for name, value in session.headers.items() if value is None}
    return Held(
        cookies=tuple((c.name, c.value or "") for c in session.cookies if _goes_everywhere(c)),
        headers=headers,
        credentials=_credentials(session),
        dropped=frozenset(dropped),
        proxies=_proxies(session),
        verify=session.verify if isinstance(session.verify, bool | str) else True,
        trusts_environment=session.trust_env,
        cert=None if settings.cert is not None else _path_or_pair(session.cert),
        params=tuple(_param_pairs(session.params)),
        scoped_cookies=any(not _goes_everywhere(cookie) for cookie in session.cookies),
    )


def _changed(session: requests.Session, settings: Settings) -> Iterable[tuple[Any, Any]]:
    """What the user put into ``session.headers``: requests' defaults and ours left out."""
    for name, value in session.headers.items():
        key = _text(name).lower()
        ours = key == "user-agent" and value == settings.user_agent
        if value is not None and _DEFAULTS.get(key) != value and not ours:
            yield name, value


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _credentials(session: requests.Session) -> Headers:
    auth = session.auth
    pair = (auth.username, auth.password) if type(auth) is HTTPBasicAuth else auth
    if not _is_user_and_password(pair):
        return ()
    user, password = (part if isinstance(part, bytes) else str(part) for part in pair)
    return basic(user, password)


def _is_user_and_password(auth: object) -> TypeGuard[tuple[str | bytes, str | bytes]]:
    return isinstance(auth, tuple) and len(auth) == 2


def _goes_everywhere(cookie: Any) -> bool:  # noqa: ANN401 - http.cookiejar.Cookie
    return not cookie.domain and cookie.path == "/" and not cookie.secure and not cookie.expires


def cookie_header(session: requests.Session, url: str) -> str | None:
    """Give the Cookie header of the session's jar for one URL, None without any (RFC 6265, 5.4)."""
    if not len(session.cookies):
        return None
    request = requests.Request("GET", url)
    header: str | None = get_cookie_header(session.cookies, request)  # type: ignore[no-untyped-call]
    return header


def _proxies(session: requests.Session) -> Proxies | None:
    given = session.proxies
    if not given and session.trust_env:
        return None
    both = given.get("all")
    return given.get("http", both), given.get("https", both)


def _path_or_pair(cert: Any) -> Cert | None:  # noqa: ANN401 - as requests takes it
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


def connects_elsewhere(session: requests.Session) -> str | None:
    """Tell what of a session makes connections for itself, or through another host; else None."""
    if session.proxies:
        return "the session's proxies"
    if any(type(adapter) is not HTTPAdapter for adapter in session.adapters.values()):
        return "a mounted adapter"
    if any(_is_own(type(session), method) for method in ("send", "get_adapter")):
        return f"the send() or get_adapter() of {type(session).__name__}"
    return None


def _is_own(kind: type[requests.Session], method: str) -> bool:
    return getattr(kind, method) is not getattr(requests.Session, method)


def mocked() -> str | None:
    """Tell that requests is mocked, None where it is as it came.

    A function is known by the module that it runs in, since this may be imported while mocks are
    there, and one that wraps another names the other's module as its own.
    """
    for owner, name, home in _MOCKED:
        if not _is_from(home, getattr(owner, name)):
            return f"requests is mocked ({owner.__name__}.{name} is replaced)"
    if _send_is_mocked():
        return "requests is mocked (Session.send is replaced)"
    return None


def sends_itself(session: requests.Session) -> bool:
    """Whether a session's requests are to be made by another ``send`` than that of requests."""
    return type(session).send is not requests.Session.send or _send_is_mocked()


def _send_is_mocked() -> bool:
    """Whether another function stands in its place; what wraps it, to trace requests, calls it."""
    send = requests.Session.send
    return not _is_from(requests.sessions, getattr(send, "__wrapped__", send))


def _is_from(home: ModuleType, function: object) -> bool:
    return type(function) is FunctionType and function.__globals__ is vars(home)


def beyond_curl(session: requests.Session) -> str | None:
    """Tell what the session holds that libcurl cannot do, None when it can do all of it."""
    if (reason := mocked()) is not None:
        return reason
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
