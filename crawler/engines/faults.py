"""What requests, urllib3 and Python raise for a failed exchange, as our error classes: one table.

An exception arrives wrapped several times over; the table is read from the top, and a row holds
when any exception of the wrapping is of its kinds and the exchange was at one of its stages. What
no row holds for is a bug of ours or of the user's code, and is raised again. Words are our own:
no object's repr and no secret gets in.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from requests import exceptions as requests_errors
from urllib3 import exceptions as urllib3_errors

from crawler.decoding import DecodeFailed, TooLarge
from crawler.engines.exchange import CONNECTING, Exchange, Stage
from crawler.engines.http1 import BadReply, EmptyReply
from crawler.engines.transport import PrivateAddressError
from crawler.record import ErrorClass
from crawler.urls import mask


def translated(exc: Exception, exchange: Exchange) -> tuple[ErrorClass, str]:
    """Give the class of a failure and its cause in one line. Raises ``exc`` when it is none."""
    causes = list(_causes(exc))
    for row in FAULTS:
        if exchange.stage not in row.stages:
            continue
        for cause in causes:
            if isinstance(cause, row.kinds):
                return row.error, mask(row.words(cause, exchange))
    raise exc


def died_idle(exc: Exception, exchange: Exchange) -> bool:
    """Tell whether the server closed a reused connection before it can have seen the request."""
    if not exchange.reused or exchange.fresh_only or exchange.first_byte is not None:
        return False
    return any(isinstance(cause, EmptyReply | ConnectionError) for cause in _causes(exc))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception and all that it wraps, in whatever way, the outermost first."""
    found = [exc]
    for error in found:
        yield error
        wrapped = (*error.args, getattr(error, "reason", None), error.__cause__, error.__context__)
        found += [
            cause
            for cause in wrapped
            if isinstance(cause, BaseException) and not any(cause is known for known in found)
        ]


def _own(cause: BaseException, exchange: Exchange) -> str:
    return str(cause)


def _not_resolved(cause: BaseException, exchange: Exchange) -> str:
    reason = cause
    if isinstance(cause, urllib3_errors.NameResolutionError):
        reason = cause.__cause__ or cause
    words = reason.strerror if isinstance(reason, socket.gaierror) else "it is no host name"
    return f"could not resolve {exchange.host or 'the host'}: {words}"


def _not_connected(cause: BaseException, exchange: Exchange) -> str:
    number = next((c.errno for c in _causes(cause) if isinstance(c, OSError) and c.errno), None)
    words = os.strerror(number).lower() if number else "no connection"
    return f"{words}: {exchange.peer}" if exchange.peer else words


def _too_late(cause: BaseException, exchange: Exchange) -> str:
    if exchange.stage in _LATE:
        return f"{_LATE[exchange.stage]} within {exchange.connect_timeout_s:g} s"
    if exchange.first_byte is None:
        return f"no reply within {exchange.timeout_s:g} s"
    return f"the reply was not complete within {exchange.timeout_s:g} s"


_LATE: Final[dict[Stage, str]] = {
    "dns": "the host name was not resolved",
    "connect": "no connection",
    "tunnel": "no tunnel through the proxy",
    "tls": "no TLS handshake",
}


def _no_tunnel(cause: BaseException, exchange: Exchange) -> str:
    refusal = next((c for c in _causes(cause) if type(c) is OSError), None)
    return f"{refusal}"[:100] if refusal else "the proxy broke off the tunnel"


def _not_secured(cause: BaseException, exchange: Exchange) -> str:
    errors = [error for error in _causes(cause) if isinstance(error, ssl.SSLError)]
    for error in errors:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate is not accepted: {error.verify_message}"
    reason = next((error.reason for error in errors if error.reason), None)
    if reason is not None:
        return f"the TLS handshake failed: {reason.lower().replace('_', ' ')}"
    return "the server broke off the TLS handshake"


def _broken_off(cause: BaseException, exchange: Exchange) -> str:
    part = "the reply" if exchange.first_byte is None else "the end of the reply"
    if isinstance(cause, ConnectionError | ssl.SSLError):
        return f"the server broke the connection off before {part}"
    return f"the connection broke off before {part}"


def _not_http(cause: BaseException, exchange: Exchange) -> str:
    return f"not a proper HTTP reply ({type(cause).__name__})"


def _by_its_name(cause: BaseException, exchange: Exchange) -> str:
    return f"failed in requests ({type(cause).__name__})"


class Fault(NamedTuple):
    """A row: exceptions of these ``kinds``, at these ``stages``, are this ``error``."""

    kinds: tuple[type[BaseException], ...]
    error: ErrorClass
    words: Callable[[BaseException, Exchange], str]
    stages: tuple[Stage, ...] = ("start", *CONNECTING, "send", "receive")


FAULTS: Final[tuple[Fault, ...]] = (
    Fault((TooLarge,), "too_large", _own),
    Fault((PrivateAddressError,), "blocked", _own),
    Fault((BadReply, DecodeFailed), "protocol", _own),
    Fault((urllib3_errors.NameResolutionError, socket.gaierror), "dns", _not_resolved),
    Fault((urllib3_errors.NewConnectionError,), "connect", _not_connected),
    Fault(
        (TimeoutError, urllib3_errors.TimeoutError, requests_errors.Timeout), "timeout", _too_late
    ),
    Fault(
        (ssl.SSLError, ssl.CertificateError, urllib3_errors.SSLError, requests_errors.SSLError),
        "tls",
        _not_secured,
        ("start", *CONNECTING),
    ),
    # ValueError: a peer that resets in time leaves ssl with a socket that was never connected.
    Fault((OSError, ValueError), "tls", _not_secured, ("tls",)),
    Fault((OSError, http.client.HTTPException), "connect", _no_tunnel, ("tunnel",)),
    Fault((urllib3_errors.ProxyError, requests_errors.ProxyError), "connect", _not_connected),
    Fault((ConnectionError, ssl.SSLError, http.client.RemoteDisconnected), "protocol", _broken_off),
    Fault(
        (
            http.client.HTTPException,
            urllib3_errors.ProtocolError,
            urllib3_errors.DecodeError,
            requests_errors.ChunkedEncodingError,
            requests_errors.ContentDecodingError,
        ),
        "protocol",
        _not_http,
    ),
    Fault(
        (
            requests_errors.InvalidURL,
            requests_errors.InvalidSchema,
            urllib3_errors.LocationValueError,
        ),
        "invalid_url",
        _by_its_name,
    ),
    Fault((requests_errors.ConnectionError,), "connect", _by_its_name),
    Fault((requests_errors.RequestException, urllib3_errors.HTTPError), "protocol", _by_its_name),
    Fault((OSError,), "protocol", _broken_off),
)
