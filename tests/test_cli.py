"""The command line from outside: help, exit codes, and what it costs to ask."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import click
import pytest
from click.testing import CliRunner

from crawler.cli import command_line, main
from crawler.cli.failures import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PIPE, guarded
from crawler.cli.options import RunOptions, RunParams, parse
from crawler.cli.run_command import run_command
from crawler.demo_api import DemoServer
from crawler.errors import WorkerError
from crawler.settings import VERSION, Settings

URL = "http://127.0.0.1:1/"
HEAVY = ["requests", "urllib3", "pandas", "numpy", "pycurl", "orjson", "tqdm", "tenacity"]
HEAVY += ["multiprocessing", "asyncio"]


def parsed(*args: str, stdin_piped: bool = False) -> tuple[RunOptions, Settings]:
    context = run_command.make_context("run", list(args))
    return parse(cast(RunParams, context.params), stdin_piped=stdin_piped)


def crawl(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    command = [sys.executable, "-m", "crawler", *args]
    return subprocess.run(command, text=True, timeout=30, **{"capture_output": True, **options})  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServer]:
    with DemoServer.start() as server:
        yield server


# Help, version, completion


def test_help_shows_every_option_under_a_heading() -> None:
    """``crawl --help`` lists the default verb's options, the verbs and examples in 80 columns."""
    text = CliRunner().invoke(command_line, ["--help"]).output
    options = [option for group in run_command.groups for option in group.options]
    assert len(options) > 40
    for option in options:
        assert option.opts[-1] in text
        assert option.help
    for heading in ("Targets:", "Request (", "Retries (", "Pool and record:", "Output:", "Verbs ("):
        assert text.count(heading) == 1
    assert "  demo  " in text
    assert "  crawl --urls list.txt --out record.log\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_defaults_shown_are_the_settings_own() -> None:
    """The help's defaults are those of ``Settings``, in the form that the options read."""
    text = " ".join(CliRunner().invoke(command_line, ["--help"]).output.split())
    for shown in ("[default: 30s]", "[default: 250ms]", "[default: 5m]", "[default: 100MB]"):
        assert shown in text


def test_examples_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example in the help is a command that this version takes."""
    monkeypatch.setenv("API_TOKEN", "t0ken")
    for example in run_command.examples:
        name, *words = shlex.split(example.partition(" | ")[0])
        options, _ = parsed(*words)
        assert name == "crawl"
        assert options.urls or options.url_files


def test_short_options_do_not_ask_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    """A short option's value may begin with h: ``-dhello`` is a body, not ``-h``."""
    assert parsed(URL, "-dhello")[1].body == b"hello"
    assert main(["-dhello", "--timeout", "soon", URL]) == 2
    assert "'soon' is no duration" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """``crawl completion SHELL`` prints a script that calls crawl back."""
    result = CliRunner().invoke(command_line, ["completion", shell])
    assert "_CRAWL_COMPLETE" in result.output
    assert result.output.count("crawl") > 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("crawl de", "plain,demo"),
        ("crawl --ur", "plain,--urls"),
        ("crawl --urls a --re", "plain,--resume"),
    ],
)
def test_completion_answers(words: str, expected: str) -> None:
    """A shell that asks gets verbs, and the default verb's options without naming it."""
    environ = {"_CRAWL_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split()) - 1)
    done = crawl(env={**os.environ, **environ})
    assert expected in done.stdout.splitlines()
    assert done.returncode == 0


def test_version() -> None:
    """``crawl --version`` is one line on stdout."""
    done = crawl("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"crawl {VERSION}\n", "")


def test_help_is_quick_and_light() -> None:
    """``crawl --help`` loads nothing heavy, and answers at once (a wide bound; measured: 60 ms)."""
    code = (
        "import sys; from crawler.cli import main; main(['--help']);"
        f"print(*set({HEAVY}) & sys.modules.keys(), file=sys.stderr)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 1
    assert "Usage: crawl" in done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("verb", ["run", "pull"])
def test_a_start_loads_what_it_needs(tmp_path: Path, verb: str) -> None:
    """Neither requests without a session, nor what counts and draws where nothing is."""
    job = tmp_path / "job.toml"
    job.write_text(f'every = "1h"\n[targets]\nlist = ["{URL}"]\n[request]\nretries = 0\n')
    run = [URL, "--retries", "0", "--out", "none", "--summary", "none"]
    words = run if verb == "run" else ["pull", str(job)]
    unwanted = {"requests", "urllib3", "http.client", "numpy", "pandas", "tqdm"}
    code = (
        f"import sys; from crawler.cli import main; main({words});"
        f"print(*{unwanted} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == ""


# Exit codes and failures


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--uls", "x"], "No such option"),
        (["--timeout", "soon", URL], "--timeout: 'soon' is no duration"),
        (["-c", "many", URL], "'many' is not a valid integer"),
        (["-c", "0", URL], "--concurrency is 0"),
        (["--urls", "/no/such/list.txt"], "/no/such/list.txt"),
        (["demo", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the command is one line on stderr, nothing on stdout, and exit 2."""
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crawl: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_nothing_at_all_shows_the_help() -> None:
    """``crawl`` alone shows the help on stderr and exits 2: no script takes it for a run."""
    done = crawl(stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: crawl [OPTIONS] [URL]...")


def _raiser(exc: BaseException) -> int:
    raise exc


@pytest.mark.parametrize(
    ("exc", "code", "message"),
    [
        (WorkerError("it broke", "REMOTE"), 2, "crawl: error: it broke\n"),
        (
            PermissionError(13, "Permission denied", "/x"),
            2,
            "crawl: error: /x: permission denied\n",
        ),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "crawl: interrupted\n"),
        (click.Abort(), EXIT_INTERRUPTED, "crawl: interrupted\n"),
        (click.exceptions.Exit(5), 5, ""),
        (
            ZeroDivisionError("oh\nno"),
            EXIT_BUG,
            "crawl: internal error: ZeroDivisionError: oh no; this is a bug: "
            "--debug or CRAWL_DEBUG=1 shows where\n",
        ),
    ],
)
def test_failures(
    exc: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception becomes its line and its exit code, without a traceback."""
    assert guarded(lambda: _raiser(exc), debug=False) == code
    assert capsys.readouterr().err == message


def test_a_pipe_of_ours_that_breaks_is_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    """A broken pipe is quiet only when it is stdout that nobody reads."""
    exc = BrokenPipeError(32, "Broken pipe")
    assert guarded(lambda: _raiser(exc), debug=False) == EXIT_BUG
    assert "internal error: BrokenPipeError" in capfd.readouterr().err


def test_debug_shows_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    """With debug on, the traceback comes too, a worker's own included."""
    assert guarded(lambda: _raiser(WorkerError("it broke", "REMOTE TRACE")), debug=True) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "REMOTE TRACE" in err
    assert err.endswith("crawl: error: it broke\n")


@pytest.mark.parametrize("way", ["option", "environment"])
def test_debug_is_asked_for_in_two_ways(way: str) -> None:
    """``--debug`` and ``CRAWL_DEBUG=1`` both show where an error came from."""
    flags = ["--debug"] if way == "option" else []
    environ = {**os.environ, "CRAWL_DEBUG": "1" if way == "environment" else "0"}
    done = crawl(URL, "--timeout", "soon", *flags, env=environ)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_reader_that_left_is_no_error() -> None:
    """When nobody reads stdout any more the command ends quietly, as cat does."""
    reader, writer = os.pipe()
    os.close(reader)
    done = crawl("--help", capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (EXIT_PIPE, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_said() -> None:
    """A full disk behind stdout is one line and exit 2, also for what is flushed last."""
    with open("/dev/full", "w") as full:
        done = crawl("--version", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "crawl: error: cannot write the output: no space left on device\n"


def test_the_verb_may_be_left_out(demo: DemoServer, tmp_path: Path) -> None:
    """``crawl URL`` is ``crawl run URL``; failures beyond --max-errors make exit 1."""
    url = f"{demo.url}/status/404"
    fine = crawl(url, "--max-errors", "1", "--summary", "none", "-q", cwd=tmp_path)
    assert (fine.returncode, fine.stdout) == (0, "")
    failed = crawl("run", url, "--out", "none", "--summary", "none", "-q", cwd=tmp_path)
    assert failed.returncode == 1
    assert (tmp_path / "record.log").read_text().count("\n") == 1


def test_a_list_may_be_piped_in(demo: DemoServer, tmp_path: Path) -> None:
    """URLs piped in are read where no others are named, and the command says so."""
    done = crawl("--out", "-", "--summary", "none", cwd=tmp_path, input=f"{demo.url}/health\n" * 3)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 3
    assert "crawl: reading URLs from standard input\n" in done.stderr


# The demo


def test_demo_serves_until_interrupted() -> None:
    """``crawl demo`` says where it serves, serves there, and ends with exit 0 at Ctrl-C."""
    command = [sys.executable, "-m", "crawler", "demo", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as api:
        assert api.stdout is not None
        line = api.stdout.readline()
        assert line.startswith("crawl demo: serving on http://127.0.0.1:")
        address = line.split("//")[1].strip().rsplit(":", 1)
        with socket.create_connection((address[0], int(address[1])), timeout=5) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        api.send_signal(signal.SIGINT)
        out, err = api.communicate(timeout=10)
    assert (api.returncode, out, err) == (0, "", "")


def test_demo_help_lists_the_knobs() -> None:
    """``crawl demo --help`` tells what the API can be asked to do."""
    text = CliRunner().invoke(command_line, ["demo", "--help"]).output
    assert "/novelSearchApi?name=" in text
    assert "delay=" in text
    assert text.isascii()


def test_a_taken_port_is_an_error_with_a_remedy(demo: DemoServer) -> None:
    """A port in use is one line naming it and the way out, exit 2."""
    done = crawl("demo", "--port", str(demo.port))
    assert done.returncode == 2
    assert str(demo.port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_bug(closed: str, tmp_path: Path) -> None:
    """Whatever descriptor is closed, the run ends as it should and its log is its own."""
    log = tmp_path / "r.log"
    line = f"{sys.executable} -m crawler http://127.0.0.1:1/ --retries 0 --out {log} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=30)
    assert done.returncode == 1
    assert [json.loads(row)["error"] for row in log.read_text().splitlines()] == ["connect"]


def test_an_ascii_terminal_stops_no_output(tmp_path: Path) -> None:
    """A character that the output cannot show is escaped."""
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "http://127.0.0.1:1/é", "--out", "none", "--retries=0"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"total" in done.stdout


def test_a_list_named_as_a_url_is_told(tmp_path: Path) -> None:
    """Who forgets --urls is told so, and no log is begun."""
    (tmp_path / "l.txt").write_text("http://127.0.0.1:1/\n")
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "l.txt"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "did you mean --urls l.txt?" in done.stderr
    assert not (tmp_path / "record.log").exists()


@pytest.mark.parametrize("out", ["/dev/full", "/dev/zero"])
def test_a_device_is_no_log(out: str) -> None:
    """A log is a regular file; anything else is refused at once."""
    done = subprocess.run(
        [sys.executable, "-m", "crawler", "http://127.0.0.1:1/", "--out", out],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no regular file" in done.stderr
