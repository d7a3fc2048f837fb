"""Our settings as libcurl's options, and libcurl's error codes as our classes. Pure tables."""

from __future__ import annotations

import os
from math import ceil
from typing import Any, Final, Literal

import pycurl

from crawler.engines.base import Request
from crawler.profile import Profile, ca_bundle, environment_proxies
from crawler.record import ErrorClass
from crawler.settings import Settings

Options = list[tuple[int, Any]]

_DNS_TTL_S: Final = 60.0
"""For so long libcurl keeps a host's addresses unless told otherwise."""


def run_options(settings: Settings) -> Options:
    """Give the options that a run's settings ask for."""
    options: Options = [
        (pycurl.NOSIGNAL, 1),
        (pycurl.FOLLOWLOCATION, 0),
        (pycurl.PATH_AS_IS, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP_VERSION, _HTTP[settings.http]),
        (pycurl.CONNECTTIMEOUT_MS, max(1, round(settings.connect_timeout_s * 1000))),
    ]
    if settings.dns_ttl_s != _DNS_TTL_S:
        options.append((pycurl.DNS_CACHE_TIMEOUT, ceil(settings.dns_ttl_s)))
    if settings.resolve:
        options.append((pycurl.RESOLVE, list(settings.resolve)))
    if settings.unix_socket is not None:
        options.append((pycurl.UNIX_SOCKET_PATH, settings.unix_socket))
    if not settings.keepalive:
        options += [(pycurl.FORBID_REUSE, 1), (pycurl.FRESH_CONNECT, 1)]
    return options


def connection_options(profile: Profile, *, own_origin: bool) -> Options:
    """Give the options for TLS and the proxy that a session asks for.

    The client's certificate is a credential, so it is shown to a target's own origin only.
    """
    options: Options = []
    if profile.verify is False:
        options += [(pycurl.SSL_VERIFYPEER, 0), (pycurl.SSL_VERIFYHOST, 0)]
    else:
        options.append(_ca_option(profile.verify or True))
    if profile.proxies is None and not environment_proxies():
        options.append((pycurl.PROXY, ""))  # saves libcurl a look at the environment a request
    elif profile.proxies is not None and profile.proxies[0] == profile.proxies[1]:
        options.append((pycurl.PROXY, profile.proxies[0] or ""))
        options.append((pycurl.NOPROXY, ""))  # a proxy that was asked for is used for all
    if not own_origin or profile.cert is None:
        return options
    if isinstance(profile.cert, str):
        return [*options, (pycurl.SSLCERT, profile.cert)]
    return [*options, (pycurl.SSLCERT, profile.cert[0]), (pycurl.SSLKEY, profile.cert[1])]


def url_options(url: str, profile: Profile, settings: Settings) -> Options:
    """Give the options that depend on the URL's scheme; none at all in most runs."""
    options: Options = []
    if settings.http == "2":
        options.append((pycurl.HTTP_VERSION, _http2_for(url)))
    proxies = profile.proxies
    if proxies is not None and proxies[0] != proxies[1]:
        options.append((pycurl.PROXY, proxies[url.startswith("https:")] or ""))
    return options


def _ca_option(verify: str | Literal[True]) -> tuple[int, str]:
    """Trust what ``requests`` trusts, so that both engines accept the same servers."""
    bundle = ca_bundle() if verify is True else str(verify)
    return (pycurl.CAPATH if os.path.isdir(bundle) else pycurl.CAINFO), bundle


def header_list(request: Request, *, keepalive: bool) -> list[bytes]:
    """Give libcurl's list; ``Name:`` takes away what libcurl would add of itself."""
    named = {name.lower() for name, _ in request.headers}
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
    unwanted = ("Expect", "Content-Type", "Accept", "User-Agent")
    lines += [f"{name}:" for name in unwanted if name.lower() not in named]
    if not keepalive and "connection" not in named:
        lines.append("Connection: close")
    return [line.encode("utf-8", "surrogateescape") for line in lines]


def _http2_for(url: str) -> int:
    """Without TLS nothing is negotiated: HTTP/2 is spoken at once (RFC 9113, section 3.3)."""
    if url.startswith("https:"):
        return int(pycurl.CURL_HTTP_VERSION_2TLS)
    return int(pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)


_HTTP: Final = {
    "1.1": pycurl.CURL_HTTP_VERSION_1_1,
    "2": pycurl.CURL_HTTP_VERSION_2TLS,
    "3": pycurl.CURL_HTTP_VERSION_3,
}

ERRORS: Final[dict[int, ErrorClass]] = {
    pycurl.E_URL_MALFORMAT: "invalid_url",
    pycurl.E_UNSUPPORTED_PROTOCOL: "protocol",  # no HTTP answer, as HTTP/0.9: URLs were checked
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_RESOLVE_PROXY: "dns",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_INTERFACE_FAILED: "connect",
    96: "connect",  # CURLE_QUIC_CONNECT_ERROR, which pycurl does not name
    97: "connect",  # CURLE_PROXY
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_SSL_ENGINE_NOTFOUND: "tls",
    pycurl.E_SSL_ISSUER_ERROR: "tls",
    98: "tls",  # CURLE_SSL_CLIENTCERT
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_WRITE_ERROR: "protocol",
}
"""libcurl's error codes as our classes; a code that is not here is ``protocol``."""
