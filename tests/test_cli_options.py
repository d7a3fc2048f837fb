"""What the options of ``crawl run`` become, and which of them do not go together."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import cast

import pytest

from crawler.cli.options import RunOptions, RunParams, parse
from crawler.cli.run_command import run_command
from crawler.cli.values import MaxErrors
from crawler.errors import UsageError
from crawler.selection import Selection
from crawler.settings import Settings

URL = "http://127.0.0.1:1/"
SECRET = "hunter2secret"


def parsed(*args: str, stdin_piped: bool = False) -> tuple[RunOptions, Settings]:
    context = run_command.make_context("run", list(args))
    return parse(cast(RunParams, context.params), stdin_piped=stdin_piped)


def settings_of(*args: str) -> Settings:
    return parsed(URL, *args)[1]


def options_of(*args: str) -> RunOptions:
    return parsed(URL, *args)[0]


def refusal(*args: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(*args)
    return str(caught.value)


# Requests


def test_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers come from the option and from files with one a line, in order, variables filled."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", "t0ken\n")
    file = tmp_path / "headers.txt"
    file.write_bytes("\ufeffX-A: 1\r\n\r\nX-B:é: ${CRAWL_TEST_TOKEN}".encode())
    settings = settings_of("-H", "Accept:text/plain", "-H", f"@{file}", "-H", "X-Empty:")
    assert settings.headers == (
        ("Accept", "text/plain"),
        ("X-A", "1"),
        ("X-B", "é: t0ken"),
        ("X-Empty", ""),
    )


def test_a_bad_line_of_a_header_file_is_placed(tmp_path: Path) -> None:
    """An error in a header file names file and line, and does not repeat the line."""
    file = tmp_path / "headers.txt"
    file.write_text(f"A: 1\n{SECRET}\n")
    message = refusal(URL, "-H", f"@{file}")
    assert f"@{file}, line 2: no colon" in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "args",
    [
        ["-H", SECRET],
        ["-H", f"{SECRET} and: more"],
        ["-H", f"A: {SECRET}\nB: c"],
        ["--user", SECRET],
        ["--user", f"me:{SECRET}\n"],
        ["--bearer", f"Bearer {SECRET}"],
        ["--bearer", f"{SECRET}é"],
        ["--cookie", SECRET],
        ["--cookie", f"a={SECRET}\0"],
        ["--proxy", f"http://me:{SECRET}@"],
        ["--proxy", f"ftp://me:{SECRET}@host:21"],
        ["--json", f'{{"password": {SECRET}}}'],
        ["--user", f"me:{SECRET}", "--bearer", SECRET],
        ["--data", SECRET, "--json", "{}"],
    ],
)
def test_secrets_are_not_repeated(args: list[str]) -> None:
    """An error about what may be a secret names the option and keeps the value to itself."""
    message = refusal(URL, *args)
    assert SECRET not in message
    assert message.startswith("--")


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials may come from the environment; a password may hold colons, a user may not."""
    monkeypatch.setenv("CRAWL_TEST_TOKEN", "abc:d")
    assert settings_of("-u", "me:${CRAWL_TEST_TOKEN}").user == ("me", "abc:d")
    assert settings_of("--bearer", "${CRAWL_TEST_TOKEN}").bearer == "abc:d"
    assert settings_of("--cookie", "a=1; b=2", "--cookie", "c=x=y").cookies == (
        "a=1",
        "b=2",
        "c=x=y",
    )


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("socks5h://u:p%40@127.0.0.1:1080", "socks5h://u:p%40@127.0.0.1:1080"),
        ("http://[::1]:3128/", "http://[::1]:3128/"),
    ],
)
def test_proxy_forms(text: str, proxy: str) -> None:
    """A proxy without a scheme is an http one, as curl has it."""
    assert settings_of("--proxy", text).proxy == proxy


@pytest.mark.parametrize(
    ("args", "method", "body", "content_type"),
    [
        ([], "GET", None, None),
        (["-d", "a=1"], "POST", b"a=1", "application/x-www-form-urlencoded"),
        (["-d", "a=1", "-d", "b=2"], "POST", b"a=1&b=2", "application/x-www-form-urlencoded"),
        (["-d", ""], "POST", b"", "application/x-www-form-urlencoded"),
        (["-X", "put", "-d", "é"], "PUT", "é".encode(), "application/x-www-form-urlencoded"),
        (["-X", "PURGE"], "PURGE", None, None),
        (["-X", "Purge"], "Purge", None, None),
        (["--json", ' {"a": [1]} '], "POST", b' {"a": [1]} ', "application/json"),
        (["--json", "1", "-H", "content-type: a/b"], "POST", b"1", "a/b"),
    ],
)
def test_bodies(args: list[str], method: str, body: bytes | None, content_type: str | None) -> None:
    """A body makes a POST unless the method is given, and has a type unless one is given."""
    settings = settings_of(*args)
    types = [value for name, value in settings.headers if name.lower() == "content-type"]
    assert (settings.method, settings.body) == (method, body)
    assert types == ([content_type] if content_type else [])


def test_bodies_from_files(tmp_path: Path) -> None:
    """``@file`` is sent byte for byte; a file that cannot be read is named."""
    file = tmp_path / "body"
    file.write_bytes(b"\0\xff\r\n")
    assert settings_of("--data", f"@{file}").body == b"\0\xff\r\n"
    assert f"--data @{tmp_path}/no: cannot read it" in refusal(URL, "--data", f"@{tmp_path}/no")
    assert f"--json @{tmp_path}: cannot read it" in refusal(URL, "--json", f"@{tmp_path}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{'a': 1}", "not JSON at line 1, column 2"),
        ("", "not JSON at line 1, column 1"),
        ("NaN", "NaN and Infinity are not JSON"),
        ("\udcff", "not UTF-8 at byte 0"),
        ("[" * 200_000, "nested too deep"),
    ],
)
def test_json_is_held_to_json(text: str, reason: str) -> None:
    """``--json`` is checked before anything is sent, and the error says where it broke."""
    assert f"--json: {reason}" in refusal(URL, "--json", text)


def test_long_numbers_are_json() -> None:
    """A number of any length is JSON (RFC 8259, section 6), though Python would not read it."""
    assert settings_of("--json", "9" * 5000).body == b"9" * 5000


@pytest.mark.parametrize("option", ["--cacert", "--cert", "--unix-socket"])
def test_files_must_exist(option: str, tmp_path: Path) -> None:
    """A file that an option names must be there, and be the right thing: checked first."""
    assert refusal(URL, option, f"{tmp_path}/no").startswith(f"{option} {tmp_path}/no: no such")
    assert refusal(URL, option, str(tmp_path)).startswith(f"{option} {tmp_path}: not a ")


def test_files_that_exist_are_taken(tmp_path: Path) -> None:
    """Paths that are what they should be reach the settings as given; a key needs its cert."""
    pem, path = str(tmp_path / "a.pem"), str(tmp_path / "s")
    Path(pem).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        args = ["--cacert", pem, "--cert", pem, "--key", pem, "--unix-socket", path]
        settings = settings_of(*args)
    assert (settings.cacert, settings.cert, settings.key) == (pem, pem, pem)
    assert settings.unix_socket == path
    assert "--key needs --cert" in refusal(URL, "--key", pem)


def test_each_option_reaches_its_setting() -> None:
    """Every other option of the requests, retries and pool sets the one field it is named for."""
    args = (
        "--insecure --http 2 --no-compression --no-keepalive --resolve a.test:443:127.0.0.1 "
        "--user-agent me/1 --max-redirects 0 --timeout 2m --connect-timeout 500ms "
        "--max-body 1MiB --engine requests --retries 0 --retry-unsafe --backoff 1s "
        "--backoff-max 1m --retry-after-max 1h -c 7 --processes 0 --fsync record --group-by host"
    )
    assert settings_of(*args.split()) == Settings(
        verify_tls=False,
        http="2",
        compression=False,
        keepalive=False,
        resolve=("a.test:443:127.0.0.1",),
        user_agent="me/1",
        max_redirects=0,
        timeout_s=120,
        connect_timeout_s=0.5,
        max_body_bytes=2**20,
        engine="requests",
        retries=0,
        retry_unsafe=True,
        backoff_s=1,
        backoff_max_s=60,
        retry_after_max_s=3600,
        concurrency=7,
        processes=0,
        fsync="record",
        group_by="host",
    )


def test_defaults_are_the_settings_own() -> None:
    """Without options the command does what the library does by default."""
    assert settings_of() == Settings()


def test_names_are_each_kept_once_in_order() -> None:
    """``--keep`` may be repeated and may hold commas; a column named twice is kept once."""
    assert options_of("--keep", "b,a", "--keep", "a, c").keep == ("b", "a", "c")
    assert "--keep: 'a,,b' has an empty name" in refusal(URL, "--keep", "a,,b")


def test_a_missing_variable_is_named() -> None:
    """A variable that is not set is an error that names it, the option and the header."""
    message = refusal(URL, "-H", "Authorization: Bearer ${NO_SUCH_TOKEN}")
    assert "--header number 1 (Authorization)" in message
    assert "NO_SUCH_TOKEN is not set" in message


# The run: targets, log, summary


def test_run_options() -> None:
    """What is not a setting reaches the run's own options."""
    args = (
        "--urls a.txt --urls - --column u --out x.csv --resume --retry-failed --wait "
        "--summary json --max-errors 5% -q"
    )
    assert options_of(*args.split()) == RunOptions(
        urls=(URL,),
        url_files=("a.txt", "-"),
        column="u",
        keep=(),
        template=None,
        sitemaps=(),
        selection=Selection(),
        rows=None,
        out="x.csv",
        resume=True,
        retry_failed=True,
        wait=True,
        summary="json",
        max_errors=MaxErrors(percent=5.0),
        quiet=True,
    )
    assert options_of().out == "record.log"
    assert options_of().max_errors == MaxErrors()


def test_without_targets() -> None:
    """Nothing to fetch is an error with an example, unless a list is piped in."""
    assert "crawl --urls list.txt" in refusal("--out", "x.log")
    assert parsed("--out", "x.log", stdin_piped=True)[0].url_files == ("-",)
    assert parsed(URL, stdin_piped=True)[0].url_files == ()


def test_standard_input_is_read_once() -> None:
    """The list and the body cannot both be standard input, and a body leaves no list there."""
    assert "can be read once" in refusal("--urls", "-", "-d", "@-")
    with pytest.raises(UsageError, match="nothing to fetch"):
        parsed("-d", "@-", stdin_piped=True)


@pytest.mark.parametrize("option", ["--resume", "--retry-failed"])
@pytest.mark.parametrize("out", ["-", "none"])
def test_going_on_needs_a_log(option: str, out: str) -> None:
    """There is nothing to go on with where no log is kept."""
    assert f"{option} goes on with a record log" in refusal(URL, option, "--out", out)


def test_group_by_a_column_that_is_kept() -> None:
    """A summary's rows can be a column only if the records carry it."""
    assert settings_of("--keep", "city", "--group-by", "city").group_by == "city"
    assert "--keep city --group-by city" in refusal(URL, "--group-by", "city")


def test_a_bare_word_is_no_url() -> None:
    """A word for a URL is a mistyped verb, or lacks its scheme; for a template it is a value."""
    assert "'dmeo' is neither a verb nor a URL" in refusal("dmeo")
    template = "http://127.0.0.1/{name}"
    assert parsed("dmeo", "--url-template", template)[0].urls == ("dmeo",)
