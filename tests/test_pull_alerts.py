"""Ways to tell an alert: real programs, a real HTTP server and a real mail server on loopback."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import json
import shutil
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import UsageError
from crawler.pull import channels
from crawler.pull.channels import ChannelError, channels_of, check_channels, send
from crawler.pull.job import AlertPlan
from tests.raw_server import Peer, RawServer, answers, closed_port

SECRET = "s3cr3t-Pässwörd"
ALERT = {
    "job": "prices",
    "rule": "failures",
    "subject": "https://api.example.org/v1",
    "state": "firing",
    "since": "2026-01-31T10:00:00Z",
    "at": "2026-01-31T10:15:00Z",
    "message": "prices: https://api.example.org/v1 failed 3 times in a row: täglich",
    "run": "20260131T101500-1",
}
DONE = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def mails(smtp: str, **changes: Any) -> AlertPlan:
    plan: dict[str, Any] = {"sender": "crawl@example.org", "receivers": ("ops@example.org",)}
    return AlertPlan(smtp=smtp, **{**plan, **changes})


def program(code: str, *arguments: str) -> AlertPlan:
    return AlertPlan(command=(sys.executable, "-c", code, *arguments))


def refused(channel: str, plan: AlertPlan, folder: Path) -> str:
    """What is said of an alert that cannot be told."""
    with pytest.raises(ChannelError) as caught:
        send(channel, ALERT, plan, folder)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


# -- which there are, and what can be known of them before


def test_channels_are_those_that_the_job_names() -> None:
    """Each channel that is configured, in one order."""
    assert channels_of(AlertPlan(failures=3)) == ()
    assert channels_of(AlertPlan(webhook="https://h/")) == ("webhook",)
    plan = mails("smtp://h", command=("./alert",), webhook="https://h/")
    assert channels_of(plan) == ("command", "webhook", "smtp")


def test_a_channel_that_the_job_has_no_more_is_an_error(tmp_path: Path) -> None:
    """What was to be told through a channel that was taken out since cannot be told."""
    for channel in ("command", "webhook", "smtp", "pager"):
        assert "any more" in refused(channel, AlertPlan(failures=3), tmp_path)


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        (AlertPlan(webhook="ftp://hooks.example.org/s3cr3t"), r"\[alerts\] webhook"),
        (AlertPlan(webhook="https:///s3cr3t"), r"\[alerts\] webhook"),
        (AlertPlan(webhook="https://[::1/s3cr3t"), r"\[alerts\] webhook"),
        (AlertPlan(webhook="https://h:99999/s3cr3t"), r"\[alerts\] webhook"),
        (AlertPlan(webhook="https://hooks..example.org/s3cr3t"), r"webhook.*empty label"),
        (AlertPlan(webhook=f"https://{'a' * 70}.org/s3cr3t"), r"\[alerts\] webhook"),
        (AlertPlan(webhook="https://h/${CRAWL_TEST_UNSET}"), r"\[alerts\] webhook.*CRAWL_TEST_UN"),
        (AlertPlan(command=("./a", "${CRAWL_TEST_UNSET}")), r"\[alerts\] command.*CRAWL_TEST_UN"),
        (AlertPlan(command=("./a", "file:/no/such")), r"\[alerts\] command.*/no/such"),
        (mails("http://mail.example.org"), r"\[alerts\] smtp"),
        (mails("smtp://"), r"\[alerts\] smtp"),
        (mails("smtp://u:s3cr3t@h:port"), r"\[alerts\] smtp"),
        (mails("smtp://u:s3cr3t/x@h"), r"\[alerts\] smtp"),
        (mails("smtp://u:12/s3cr3t@h"), r"\[alerts\] smtp.*%2F"),
        (mails("smtp://u:12#s3cr3t@h"), r"\[alerts\] smtp"),
        (mails("smtp://u:12?s3cr3t@h"), r"\[alerts\] smtp"),
        (mails("smtp://u:${CRAWL_TEST_UNSET}@h"), r"\[alerts\] smtp.*CRAWL_TEST_UNSET"),
        (mails("smtp://h", sender="a@b\nBcc: c@d"), r"\[alerts\] from"),
        (mails("smtp://h", receivers=("a@b", "c@d\r\nX: y")), r"\[alerts\] from, to"),
    ],
)
def test_what_is_wrong_before_a_pull_is_said_by_its_key(plan: AlertPlan, named: str) -> None:
    """A URL that is none, a variable that is not set: the key is named, and no secret."""
    with pytest.raises(UsageError, match=named) as caught:
        check_channels(plan)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "plan",
    [
        AlertPlan(),
        AlertPlan(command=("./alert", "$${literal}")),
        AlertPlan(webhook="http://127.0.0.1:8080/hook?x=1"),
        mails("smtp://mail.example.org"),
        mails("smtp://pull:p%40ss%2Fw@mail.example.org:2525/"),
        mails("smtps://[::1]:465", sender="Crawl <crawl@example.org>"),
    ],
)
def test_what_may_be_right_passes(plan: AlertPlan) -> None:
    """Nothing is contacted: only what is certainly wrong is refused."""
    check_channels(plan)


def test_what_is_not_set_when_an_alert_is_told_is_a_channel_error(tmp_path: Path) -> None:
    """A variable or a file that is gone by then does not end the pull."""
    for channel, plan in (
        ("command", AlertPlan(command=("true", "${CRAWL_TEST_UNSET}"))),
        ("webhook", AlertPlan(webhook="https://h/${CRAWL_TEST_UNSET}")),
        ("smtp", mails("smtp://u:${CRAWL_TEST_UNSET}@h")),
    ):
        assert "CRAWL_TEST_UNSET is not set" in refused(channel, plan, tmp_path)


# -- command


def test_a_program_gets_the_alert_on_its_stdin(tmp_path: Path) -> None:
    """One JSON document, in the job's folder, as one word each without a shell."""
    code = "import sys; open('got', 'wb').write(sys.stdin.buffer.read()); print(sys.argv[1:])"
    send("command", ALERT, program(code, "a b", "$(touch pwned)", ";"), tmp_path)
    assert json.loads((tmp_path / "got").read_bytes()) == ALERT
    assert [path.name for path in tmp_path.iterdir()] == ["got"]


def test_the_words_of_a_program_are_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``${ENV}``, ``file:PATH`` and ``${file:PATH}``; ``$${`` stands for itself."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", SECRET)
    secret = tmp_path / "secret"
    secret.write_text("of a ${file}\n")
    code = "import json, sys; json.dump(sys.argv[1:], open('got', 'w'))"
    words = ("x-${CRAWL_TEST_TOKEN}", f"file:{secret}", f"<${{file:{secret}}}>", "$${HOME}")
    send("command", ALERT, program(code, *words), tmp_path)
    assert json.loads((tmp_path / "got").read_text()) == [
        f"x-{SECRET}", "of a ${file}", "<of a ${file}>", "${HOME}",
    ]  # fmt: skip


def test_nothing_of_a_program_gets_on_our_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pull's stdout is its own: what the program prints is dropped."""
    send("command", ALERT, program("import sys; print(1); print(2, file=sys.stderr)"), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_program_need_not_read_the_alert(tmp_path: Path) -> None:
    """One that ends without reading, however long the alert is, has told it."""
    long = {**ALERT, "message": "x" * 1_000_000}
    send("command", long, AlertPlan(command=("true",)), tmp_path)


def test_a_program_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    """The exit code and the last line of stderr, without what drives a terminal."""
    code = "import sys; print('first\\nlast \\x1b[31mred', file=sys.stderr); sys.exit(7)"
    said = refused("command", program(code), tmp_path)
    assert said.endswith("it ended with 7: last \\x1b[31mred")
    assert "first" not in said


def test_a_program_that_repeats_a_secret_does_not_get_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was filled in is taken out of its last words: alone, and the whole word."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", SECRET)
    code = "import sys; w = sys.argv[1]; sys.exit(f'cannot use {w} nor {w[7:]}')"
    said = refused("command", program(code, "Bearer ${CRAWL_TEST_TOKEN}"), tmp_path)
    assert said.endswith("it ended with 1: cannot use *** nor ***")


def test_a_program_that_is_not_there_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the job file has it: what was filled in is not told."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", SECRET)
    said = refused("command", AlertPlan(command=("./${CRAWL_TEST_TOKEN}",)), tmp_path)
    assert said == "command ./${CRAWL_TEST_TOKEN}: cannot run it: no such file or directory"
    said = refused("command", AlertPlan(command=("true", "nul\0")), tmp_path)
    assert said == "command true: cannot run it: it holds what no program can be given"


def test_a_program_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is over its process group is gone, not the program alone."""
    monkeypatch.setattr(channels, "_COMMAND_S", 0.4)
    plan = AlertPlan(command=("sh", "-c", "sleep 60 & echo $! > child; wait"))
    began = time.monotonic()
    assert refused("command", plan, tmp_path) == "command sh: not done within 0.4 s"
    assert time.monotonic() - began < 5
    assert_gone(int((tmp_path / "child").read_text()))


def assert_gone(pid: int) -> None:
    """Wait until a process is no more, or only its parent's to reap."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} is still there")


def test_what_a_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """It is over when the program is, though a child of it holds its stderr."""
    plan = AlertPlan(command=("sh", "-c", "sleep 20 & echo $! > child"))
    began = time.monotonic()
    send("command", ALERT, plan, tmp_path)
    assert time.monotonic() - began < 5
    subprocess.run(["kill", (tmp_path / "child").read_text().strip()], check=True)


# -- webhook


def test_a_webhook_gets_the_alert_as_json() -> None:
    """The alert, and ``text`` for Slack and Mattermost; the URL is filled in then."""
    with RawServer(answers(DONE)) as server:
        send("webhook", ALERT, AlertPlan(webhook=f"{server.url}/hook?key=1"), Path())
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook?key=1 HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert json.loads(body) == {**ALERT, "text": ALERT["message"]}


def test_a_webhook_with_its_secret_in_the_path_is_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment, or from a file as a whole."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", "t0k3n")
    with RawServer(answers(DONE)) as server:
        (tmp_path / "url").write_text(f"{server.url}/of-a-file\n")
        send("webhook", ALERT, AlertPlan(webhook=f"{server.url}/${{CRAWL_TEST_TOKEN}}"), tmp_path)
        send("webhook", ALERT, AlertPlan(webhook=f"file:{tmp_path / 'url'}"), tmp_path)
    assert [request.split()[1] for request in server.requests] == [b"/t0k3n", b"/of-a-file"]


@pytest.mark.parametrize("status", [301, 307, 400, 404, 503])
def test_an_answer_that_is_no_success_is_an_error(status: int, tmp_path: Path) -> None:
    """A redirect too: it is not followed, the alert would go who knows where."""
    reply = b"HTTP/1.1 %d X\r\nLocation: /other\r\nContent-Length: 6\r\n\r\ns3cr3t" % status
    with RawServer(answers(reply)) as server:
        said = refused("webhook", AlertPlan(webhook=f"{server.url}/t0k3n"), tmp_path)
    assert said == f"webhook {server.url}: it answered {status}"
    assert len(server.requests) == 1


def test_a_webhook_that_is_not_there_is_told_without_its_url(tmp_path: Path) -> None:
    """Its host is named; user, password, path and query are not."""
    port = closed_port()
    url = f"http://us3r:p4ss@127.0.0.1:{port}/t0k3n?k3y=v4lue"
    said = refused("webhook", AlertPlan(webhook=url), tmp_path)
    assert said == f"webhook http://127.0.0.1:{port}: connection refused"


def test_a_webhook_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull does not wait for it."""
    monkeypatch.setattr(channels, "_NETWORK_S", 0.2)
    with RawServer(lambda peer: peer.hang()) as server:
        said = refused("webhook", AlertPlan(webhook=f"{server.url}/t0k3n"), tmp_path)
    assert said == f"webhook {server.url}: no answer within 0.2 s"


def test_the_body_of_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    """A server that said yes may say the rest as slowly as it likes."""
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"

    def begin(peer: Peer) -> None:
        peer.read_request()
        peer.send(endless)
        peer.hang()

    with RawServer(begin) as server:
        send("webhook", ALERT, AlertPlan(webhook=server.url), tmp_path)


def test_a_text_that_is_no_unicode_is_told_all_the_same(tmp_path: Path) -> None:
    """Half a surrogate pair of a broken reply ends no channel."""
    odd = {**ALERT, "message": "odd \udc80 end"}
    with RawServer(answers(DONE)) as server, MailServer() as mailer:
        send("webhook", odd, AlertPlan(webhook=server.url), tmp_path)
        send("smtp", odd, mails(f"smtp://127.0.0.1:{mailer.port}"), tmp_path)
    assert json.loads(server.requests[0].partition(b"\r\n\r\n")[2])["text"] == "odd ? end"
    assert mailer.mails[0].get_content().startswith("odd ? end\n")


# -- smtp


class MailServer:
    """Takes mails on a free port while its ``with`` block runs, as RFC 5321 has it.

    ``mails`` are those that came, ``to`` their receivers, ``secure`` whether each came in TLS,
    ``passwords`` what AUTH PLAIN (RFC 4616) was given. With ``starttls`` it is offered; with
    ``tls`` all is in TLS; without ``auth`` no password is taken; ``reject`` is a command that is
    answered by 550, in words.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        auth: bool = True,
        reject: str = "",
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.secure: list[bool] = []
        self.passwords: list[str] = []
        self.commands: list[str] = []
        self.tls, self.starttls, self.auth, self.reject = tls, starttls, auth, reject
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                # A client that refuses the certificate hangs up: it tells so itself.
                with contextlib.suppress(OSError):
                    _Talk(owner, self.request).run()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> MailServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Talk:
    """One connection to a ``MailServer``."""

    def __init__(self, owner: MailServer, connection: Any) -> None:
        self._owner = owner
        self._secure = False
        self._receivers: list[str] = []
        self._connection = connection
        if owner.tls is not None:
            self._secure_by(owner.tls)
        self._file = self._connection.makefile("rb")

    def _secure_by(self, context: ssl.SSLContext) -> None:
        self._connection = context.wrap_socket(self._connection, server_side=True)
        self._file = self._connection.makefile("rb")
        self._secure = True

    def _say(self, *lines: str) -> None:
        text = "".join(line + "\r\n" for line in lines)
        self._connection.sendall(text.encode())

    def run(self) -> None:
        self._say("220 test ESMTP")
        while line := self._file.readline():
            command = line.decode().rstrip("\r\n")
            verb = command.partition(" ")[0].upper()
            self._owner.commands.append(verb)
            if verb == self._owner.reject:
                self._say(f"550 no: {command}")  # a server may repeat what it was told
            else:
                getattr(self, f"_{verb.lower()}")(command)
            if verb == "QUIT":
                return

    def _ehlo(self, _: str) -> None:
        offers = self._owner.starttls is not None and not self._secure
        auth = "250 AUTH PLAIN" if self._owner.auth else "250 HELP"
        self._say("250-test", *(["250-STARTTLS"] if offers else []), auth)

    def _starttls(self, _: str) -> None:
        assert self._owner.starttls is not None
        self._say("220 go on")
        self._secure_by(self._owner.starttls)

    def _auth(self, command: str) -> None:
        self._owner.passwords.append(base64.b64decode(command.split()[2]).decode())
        self._say("235 welcome")

    def _mail(self, _: str) -> None:
        self._say("250 ok")

    def _rcpt(self, command: str) -> None:
        self._receivers.append(command.partition(":")[2].strip("<>"))
        self._say("250 ok")

    def _data(self, _: str) -> None:
        self._say("354 go on")
        lines = []
        while (line := self._file.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".").replace(b"\r\n", b"\n"))
        self._owner.mails.append(
            email.message_from_bytes(b"".join(lines), EmailMessage, policy=email.policy.default)
        )
        self._owner.to.append(self._receivers)
        self._owner.secure.append(self._secure)
        self._say("250 taken")

    def _rset(self, _: str) -> None:
        self._say("250 ok")

    def _quit(self, _: str) -> None:
        self._say("221 bye")


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost and 127.0.0.1, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command, which makes the certificate, is not installed")
    path = tmp_path_factory.mktemp("mail") / "both.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = subprocess.run(
        [openssl, "req", "-x509", *curve, *names, "-keyout", "-"], check=True, capture_output=True
    )
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
def tls(pem: Path) -> ssl.SSLContext:
    """What a server needs to show the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system's own certificates be ours."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))


def test_a_mail_tells_people(tmp_path: Path) -> None:
    """Subject and first line say it, the facts follow; each receiver gets it."""
    plan = {"sender": "Crawl <crawl@example.org>", "receivers": ("a@example.org", "b@example.org")}
    with MailServer() as server:
        send("smtp", ALERT, mails(f"smtp://127.0.0.1:{server.port}", **plan), tmp_path)
    (mail,) = server.mails
    assert server.to == [["a@example.org", "b@example.org"]]
    assert mail["Subject"] == f"[crawl] firing: {ALERT['message']}"
    assert (mail["From"], mail["To"]) == (plan["sender"], "a@example.org, b@example.org")
    assert mail["Date"].datetime.isoformat() == "2026-01-31T10:15:00+00:00"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Auto-Submitted"] == "auto-generated"
    message, _, facts = mail.get_content().partition("\n\n")
    assert message == ALERT["message"]
    assert "rule: failures\n" in facts
    assert "since: 2026-01-31T10:00:00Z\n" in facts
    assert server.passwords == []


def test_a_message_cannot_add_a_header(tmp_path: Path) -> None:
    """Line ends in what a server said stay in the subject, escaped or blank."""
    text = "a\r\nBcc: evil@example.org\r\n\r\nbody\x00\u2028X: y\x85Z: z"
    with MailServer() as server:
        alert = {**ALERT, "message": text}
        send("smtp", alert, mails(f"smtp://127.0.0.1:{server.port}"), tmp_path)
    (mail,) = server.mails
    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert mail["Subject"] == "[crawl] firing: a Bcc: evil@example.org body\\x00 X: y Z: z"
    assert server.to == [["ops@example.org"]]


def test_a_password_goes_along_decoded_over_starttls(
    tmp_path: Path, tls: ssl.SSLContext, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Percent-encoding is undone; STARTTLS is used where it is offered, before the password."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", "p%40ss%2Fw:rd")
    with MailServer(starttls=tls) as server:
        url = f"smtp://us%40er:${{CRAWL_TEST_TOKEN}}@localhost:{server.port}"
        send("smtp", ALERT, mails(url), tmp_path)
    assert server.passwords == ["\0us@er\0p@ss/w:rd"]
    assert server.secure == [True]
    assert server.commands[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_smtps_is_tls_from_the_start(tmp_path: Path, tls: ssl.SSLContext, trusted: None) -> None:
    """And the password goes along."""
    with MailServer(tls=tls) as server:
        send("smtp", ALERT, mails(f"smtps://u:p@127.0.0.1:{server.port}"), tmp_path)
    assert server.secure == [True]
    assert server.passwords == ["\0u\0p"]
    assert "STARTTLS" not in server.commands


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    scheme: str, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    """No password and no mail goes to who knows whom."""
    whole = scheme == "smtps"
    with MailServer(tls=tls if whole else None, starttls=None if whole else tls) as server:
        said = refused("smtp", mails(f"{scheme}://u:s3cr3t@localhost:{server.port}"), tmp_path)
    assert said.startswith(f"mail server {scheme}://localhost:{server.port}: ")
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert "s3cr3t" not in said
    assert server.passwords == []
    assert server.mails == []


def test_a_password_goes_nowhere_unencrypted(tmp_path: Path) -> None:
    """But to this machine itself; 0.0.0.0 reaches it too, and is not called loopback."""
    with MailServer() as server:
        said = refused("smtp", mails(f"smtp://u:s3cr3t@0.0.0.0:{server.port}"), tmp_path)
        assert server.passwords == []
        assert said == "mail server 0.0.0.0: it offers no STARTTLS for the password"
        send("smtp", ALERT, mails(f"smtp://u:s3cr3t@127.0.0.1:{server.port}"), tmp_path)
        assert server.passwords == ["\0u\0s3cr3t"]
        send("smtp", ALERT, mails(f"smtp://0.0.0.0:{server.port}"), tmp_path)
    assert len(server.mails) == 2


@pytest.mark.parametrize(
    ("reject", "said"),
    [
        ("AUTH", "SMTPAuthenticationError, code 550"),
        ("MAIL", "SMTPSenderRefused, code 550"),
        ("RCPT", "SMTPRecipientsRefused"),
        ("DATA", "SMTPDataError, code 550"),
    ],
)
def test_a_mail_that_is_refused_is_told_without_the_servers_words(
    reject: str, said: str, tmp_path: Path
) -> None:
    """They may repeat a password."""
    with MailServer(reject=reject) as server:
        url = f"smtp://u:s3cr3t@127.0.0.1:{server.port}"
        place = f"mail server smtp://127.0.0.1:{server.port}"
        assert refused("smtp", mails(url), tmp_path) == f"{place}: {said}"


def test_a_server_that_takes_no_password_is_told(tmp_path: Path) -> None:
    """In words: what it lacks."""
    with MailServer(auth=False) as server:
        said = refused("smtp", mails(f"smtp://u:s3cr3t@127.0.0.1:{server.port}"), tmp_path)
    assert said.endswith(f":{server.port}: SMTP AUTH extension not supported by server.")
    assert server.mails == []


def test_a_password_beyond_ascii_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """smtplib cannot send it; neither it nor a part of it is told."""
    with MailServer() as server:
        url = f"smtp://u:p%C3%A4ss@127.0.0.1:{server.port}"
        said = refused("smtp", mails(url), tmp_path)
    assert said == f"mail server smtp://127.0.0.1:{server.port}: UnicodeEncodeError"


def test_a_mail_server_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the system's words, or that it did not answer in time."""
    port = closed_port()
    said = refused("smtp", mails(f"smtp://u:s3cr3t@127.0.0.1:{port}"), tmp_path)
    assert said == f"mail server smtp://127.0.0.1:{port}: Connection refused"
    monkeypatch.setattr(channels, "_NETWORK_S", 0.2)
    with RawServer(lambda peer: peer.hang()) as server:
        said = refused("smtp", mails(f"smtp://127.0.0.1:{server.port}"), tmp_path)
    assert said.startswith(f"mail server smtp://127.0.0.1:{server.port}: ")
    assert said.endswith("timed out")
