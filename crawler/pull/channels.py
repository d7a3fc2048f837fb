"""Ways to tell an alert: a program, a webhook, a mail. What fails is said without its secrets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.message import EmailMessage
from email.utils import make_msgid, parseaddr
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from crawler.environment import expand_env, expand_files
from crawler.errors import CrawlError, UsageError
from crawler.exposition import plain
from crawler.private_addresses import is_loopback_name
from crawler.pull.job import AlertPlan
from crawler.urls import InvalidUrl, wire_url

Alert = Mapping[str, Any]
"""``job rule subject state since at message run``: texts; ``state`` is firing, recovered or
changed. What changed has a ``version``, where it is, and with a file a version a ``diff``."""

_COMMAND_S: Final = 30.0
_NETWORK_S: Final = 10.0
_SHOWN: Final = 200
_TOLD_OF: Final = 4096
"""Bytes of a program's last words that are looked at."""
_PORTS: Final = {"smtp": 587, "smtps": 465}
_PLACE: Final = re.compile(r"(?<!\$)\$\{[^{}]+\}")


class ChannelError(CrawlError):
    """An alert could not be told; the message names no secret."""


def channels_of(plan: AlertPlan) -> tuple[str, ...]:
    """Give the names of the channels that a job has."""
    there = {"command": plan.command, "webhook": plan.webhook, "smtp": plan.smtp}
    return tuple(name for name, value in there.items() if value)


def check_channels(plan: AlertPlan) -> None:
    """Raise ``UsageError`` for what can be known to be wrong before anything is to be told."""
    if plan.webhook is not None:
        _webhook(plan)
    if plan.smtp is not None:
        _mail_server(plan)
    for word in plan.command:
        _expanded(word, "[alerts] command")
    for text in (plan.sender or "", *plan.receivers):
        if any(ch in text for ch in "\r\n\0"):
            raise UsageError("[alerts] from, to: an address holds a line break; remove it")
    if plan.smtp is not None:
        _addressed(plan)


def check_program(plan: AlertPlan, folder: Path) -> None:
    """Raise ``UsageError`` where the program that tells alerts is not there, seen from ``folder``.

    No pull asks that: data that can be had is not to wait for it.
    """
    if not plan.command:
        return
    program = _expanded(plan.command[0], "[alerts] command")
    found = shutil.which(str(folder / program) if "/" in program else program)
    if found is None:
        raise UsageError(
            f"[alerts] command: there is no program {plan.command[0]!r}; give its path, and its "
            'arguments as texts of their own: ["./alert", "--loud"]'
        )


def send(channel: str, alert: Alert, plan: AlertPlan, folder: Path) -> None:
    """Tell an alert through one channel; a program runs in ``folder``. Raises ``ChannelError``.

    A mail that some of its receivers got is told.
    """
    if channel not in channels_of(plan):
        raise ChannelError(f"{channel}: the job does not tell alerts so any more")
    try:
        _SENDERS[channel](alert, plan, folder)
    except UsageError as exc:
        raise ChannelError(str(exc)) from None


def _expanded(text: str, where: str) -> str:
    return expand_env(expand_files(text, where), where)


def _webhook(plan: AlertPlan) -> tuple[str, str]:
    """Give a webhook's URL, and what may be told of it."""
    text = _expanded(plan.webhook or "", "[alerts] webhook")
    url = _split(text)
    if url is None or url.scheme not in ("http", "https"):
        raise UsageError("[alerts] webhook: it is no http or https URL")
    try:
        wire_url(text)
    except InvalidUrl as exc:
        raise UsageError(f"[alerts] webhook: it is no URL: {exc}") from None
    port = "" if url.port is None else f":{url.port}"
    return text, f"webhook {url.scheme}://{url.hostname}{port}"


def _mail_server(plan: AlertPlan) -> SplitResult:
    url = _split(_expanded(plan.smtp or "", "[alerts] smtp"))
    # A path is what a password leaves whose / ? or # was not percent-encoded.
    if url is None or url.scheme not in _PORTS or url.path.strip("/") or url.query or url.fragment:
        raise UsageError(
            "[alerts] smtp: give it as smtp://user:${PASSWORD}@host:587 or smtps://host; "
            "in the password / is %2F, @ is %40, # is %23, ? is %3F, % is %25"
        )
    return url


def _split(text: str) -> SplitResult | None:
    """Split a URL; None for what is none, or has no host or no possible port."""
    try:
        url = urlsplit(text)
        return url if url.hostname and url.port != 0 else None
    except ValueError:  # its words hold what was to be split
        return None


def _run(alert: Alert, plan: AlertPlan, folder: Path) -> None:
    """Run the program without a shell; it and what it started end when their time is over."""
    words = [_expanded(word, "[alerts] command") for word in plan.command]
    name = plan.command[0]
    with tempfile.TemporaryFile() as said:  # no pipe: what it leaves running may keep it open
        try:
            process = subprocess.Popen(
                words, cwd=folder, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or "it holds what no program can be given"
            raise ChannelError(f"command {name}: cannot run it: {reason.lower()}") from None
        with process:
            try:
                process.communicate(_encoded(alert), timeout=_COMMAND_S)
            except subprocess.TimeoutExpired:
                raise ChannelError(f"command {name}: not done within {_COMMAND_S:g} s") from None
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            size = said.seek(0, os.SEEK_END)
            said.seek(max(0, size - _TOLD_OF))
            last = _hidden(_last_line(said.read()), plan.command)[:_SHOWN]
            raise ChannelError(
                f"command {name}: it ended with {process.returncode}{last and f': {last}'}"
            )


def _last_line(said: bytes) -> str:
    return plain(said.decode("utf-8", "replace").strip().rpartition("\n")[2])


def _hidden(text: str, words: tuple[str, ...]) -> str:
    """Take out of a text whatever was filled into ``words``."""
    for word in words:
        for place in (word, *_PLACE.findall(word)):
            value = _expanded(place, "[alerts] command")
            if value and value != place:
                text = text.replace(plain(value), "***")
    return text


def _words(alert: Alert) -> list[str]:
    """Give what people are to read: the message, and the diff where there is one."""
    return [alert["message"], *filter(None, (alert.get("diff"),))]


def _encoded(alert: Alert) -> bytes:
    return json.dumps(dict(alert), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _post(alert: Alert, plan: AlertPlan, _: Path) -> None:
    """POST the alert; ``text`` is what Slack's and Mattermost's webhooks show."""
    import requests

    url, place = _webhook(plan)
    try:
        reply = requests.post(
            url,
            data=_encoded({**alert, "text": "\n".join(_words(alert))}),
            headers={"Content-Type": "application/json"},
            timeout=_NETWORK_S,
            allow_redirects=False,
            stream=True,  # the answer's body is not waited for
        )
    except requests.Timeout:
        raise ChannelError(f"{place}: no answer within {_NETWORK_S:g} s") from None
    except (requests.RequestException, ValueError) as exc:  # their words hold the URL
        raise ChannelError(f"{place}: {_reason(exc)}") from None
    reply.close()
    if reply.status_code >= 300:
        raise ChannelError(f"{place}: it answered {reply.status_code}")


def _reason(exc: BaseException) -> str:
    """Give the system's own word below an error, else the error's kind; none holds a URL."""
    below: BaseException | None = exc
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror.lower()
        below = below.__context__
    return type(exc).__name__


def _mail(alert: Alert, plan: AlertPlan, _: Path) -> None:
    url = _mail_server(plan)
    try:
        with _server(url) as server:
            server.send_message(_message(alert, plan))
    except (OSError, ValueError) as exc:  # ValueError: a password beyond ASCII
        port = "" if url.port is None else f":{url.port}"
        place = f"mail server {url.scheme}://{url.hostname}{port}"
        raise ChannelError(f"{place}: {_why(exc)}") from None


def _why(exc: Exception) -> str:
    """Say why a mail was not sent, without the server's words: they may repeat ours."""
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"{type(exc).__name__}, code {exc.smtp_code}"
    if isinstance(exc, smtplib.SMTPRecipientsRefused) or not isinstance(exc, OSError):
        return type(exc).__name__
    return exc.strerror or str(exc)


@contextlib.contextmanager
def _server(url: SplitResult) -> Iterator[smtplib.SMTP]:
    """Open a mail server, encrypted where it can be; a password goes no other way."""
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    context = ssl.create_default_context()
    encrypted = url.scheme == "smtps"
    if encrypted:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_NETWORK_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=_NETWORK_S)
    with server:
        server.ehlo_or_helo_if_needed()
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=context)
            encrypted = True
        if url.username is not None:
            if not encrypted and not is_loopback_name(host):
                raise ChannelError(f"mail server {host}: it offers no STARTTLS for the password")
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _addressed(plan: AlertPlan) -> EmailMessage:
    """Begin a mail; raises ``UsageError`` for what is no address."""
    mail = EmailMessage()
    try:
        mail["From"], mail["To"] = plan.sender or "", ", ".join(plan.receivers)
        told = mail["From"], mail["To"]
        faults = [str(fault) for header in told for fault in header.defects]
        ours = [address.username for header in told for address in header.addresses]
    except (IndexError, AttributeError, ValueError):  # how email's parser says that it is none
        faults, ours = [], []
    no_address = [fault for fault in faults if "invalid address" in fault]
    if no_address or len(ours) <= len(plan.receivers) or not all(map(_is_one_word, ours)):
        raise UsageError(
            "[alerts] from, to: give addresses, as ops@example.org; one of them is none"
        )
    return mail


def _is_one_word(name: str) -> bool:
    return len(name.split()) == 1


def _message(alert: Alert, plan: AlertPlan) -> EmailMessage:
    mail, sender = _addressed(plan), plan.sender or ""
    subject = f"[crawl] {alert['state']}: {alert['message']}"
    mail["Subject"] = plain(" ".join(subject.split()))[:_SHOWN]
    mail["Date"] = datetime.fromisoformat(alert["at"])
    mail["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2] or "localhost")
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
    words = ("message", "diff")
    facts = "".join(f"{name}: {value}\n" for name, value in alert.items() if name not in words)
    text = "\n\n".join((*_words(alert), facts))
    mail.set_content(text.encode("utf-8", "replace").decode())
    return mail


_SENDERS: Final[Mapping[str, Callable[[Alert, AlertPlan, Path], None]]] = {
    "command": _run,
    "webhook": _post,
    "smtp": _mail,
}
