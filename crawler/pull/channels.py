"""Ways to tell an alert: a program, a webhook, a mail. What fails is said without its secrets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from crawler.environment import expand_env, expand_files
from crawler.errors import CrawlError, UsageError
from crawler.private_addresses import is_loopback_name
from crawler.pull.job import AlertPlan

Alert = Mapping[str, Any]
"""``job rule subject state since at message run``: texts; ``state`` is firing or recovered."""

_COMMAND_S: Final = 30.0
_NETWORK_S: Final = 10.0
_SHOWN: Final = 200
_PORTS: Final = {"smtp": 587, "smtps": 465}


class ChannelError(CrawlError):
    """An alert could not be told; the message names no secret."""


def channels_of(plan: AlertPlan) -> tuple[str, ...]:
    """Give the names of the channels that a job has."""
    there = {"command": plan.command, "webhook": plan.webhook, "smtp": plan.smtp}
    return tuple(name for name, value in there.items() if value)


def check_channels(plan: AlertPlan) -> None:
    """Raise ``UsageError`` for what can be known to be wrong before anything is to be told."""
    if plan.webhook is not None:
        url = urlsplit(_expanded(plan.webhook, "[alerts] webhook"))
        if url.scheme not in ("http", "https") or not url.hostname:
            raise UsageError("[alerts] webhook: it is no http or https URL")
    if plan.smtp is not None:
        url = urlsplit(_expanded(plan.smtp, "[alerts] smtp"))
        if url.scheme not in _PORTS or not url.hostname or _port(url) is None:
            raise UsageError(
                "[alerts] smtp: give it as smtp://user:${PASSWORD}@host:587 or smtps://host"
            )
    for word in plan.command:
        _expanded(word, "[alerts] command")
    for text in (plan.sender or "", *plan.receivers):
        if any(ch in text for ch in "\r\n\0"):
            raise UsageError("[alerts] from, to: an address holds a line break; remove it")


def send(channel: str, alert: Alert, plan: AlertPlan, folder: Path) -> None:
    """Tell an alert through one channel; a program runs in ``folder``. Raises ``ChannelError``."""
    try:
        _SENDERS[channel](alert, plan, folder)
    except UsageError as exc:
        raise ChannelError(str(exc)) from None


def _expanded(text: str, where: str) -> str:
    return expand_env(expand_files(text, where), where)


def _run(alert: Alert, plan: AlertPlan, folder: Path) -> None:
    """Run the program without a shell; it and what it started end when their time is over."""
    words = [_expanded(word, "[alerts] command") for word in plan.command]
    name = plan.command[0]
    try:
        process = subprocess.Popen(
            words, cwd=folder, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ChannelError(f"command {name}: cannot run it: {reason.lower()}") from None
    with process:
        try:
            _, said = process.communicate(_encoded(alert), timeout=_COMMAND_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise ChannelError(f"command {name}: not done within {_COMMAND_S:.0f} s") from None
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2][:_SHOWN]
        raise ChannelError(f"command {name}: it ended with {process.returncode}: {last}")


def _encoded(alert: Alert) -> bytes:
    return json.dumps(dict(alert), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _post(alert: Alert, plan: AlertPlan, _: Path) -> None:
    """POST the alert; ``text`` is what Slack's and Mattermost's webhooks show."""
    url = _expanded(plan.webhook or "", "[alerts] webhook")
    place = f"webhook at {urlsplit(url).hostname}"
    body = _encoded({**alert, "text": alert["message"]})
    headers = {"Content-Type": "application/json"}
    try:
        reply = requests.post(
            url, data=body, headers=headers, timeout=_NETWORK_S, allow_redirects=False
        )
    except requests.RequestException as exc:  # its words hold the URL
        raise ChannelError(f"{place}: {type(exc).__name__}") from None
    if reply.status_code >= 300:
        raise ChannelError(f"{place}: it answered {reply.status_code}")


def _mail(alert: Alert, plan: AlertPlan, _: Path) -> None:
    url = urlsplit(_expanded(plan.smtp or "", "[alerts] smtp"))
    try:
        with _server(url) as server:
            server.send_message(_message(alert, plan))
    except (OSError, smtplib.SMTPException) as exc:
        words = str(exc) if isinstance(exc, ssl.SSLError | TimeoutError) else type(exc).__name__
        raise ChannelError(f"mail server {url.hostname}: {words}") from None


@contextlib.contextmanager
def _server(url: SplitResult) -> Iterator[smtplib.SMTP]:
    """Open a mail server, encrypted where it can be; a password goes no other way."""
    host, port, context = url.hostname or "", _port(url) or 0, ssl.create_default_context()
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_NETWORK_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=_NETWORK_S)
    with server:
        server.ehlo()
        encrypted = url.scheme == "smtps"
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=context)
            encrypted = True
        if url.username is not None:
            if not encrypted and not is_loopback_name(host):
                raise ChannelError(f"mail server {host}: it offers no STARTTLS for the password")
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _port(url: SplitResult) -> int | None:
    """Give a mail server's port, None for one that is none."""
    try:
        return url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None


def _message(alert: Alert, plan: AlertPlan) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = plan.sender, ", ".join(plan.receivers)
    subject = f"[crawl] {alert['state']}: {alert['message']}"
    mail["Subject"] = " ".join(subject.split())[:_SHOWN]
    facts = "".join(f"{name}: {value}\n" for name, value in alert.items() if name != "message")
    mail.set_content(f"{alert['message']}\n\n{facts}".encode("utf-8", "replace").decode())
    return mail


_SENDERS: Final[Mapping[str, Callable[[Alert, AlertPlan, Path], None]]] = {
    "command": _run,
    "webhook": _post,
    "smtp": _mail,
}
