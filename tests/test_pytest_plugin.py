"""The pytest plugin, in pytest runs of its own against the demo API."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Or each inner run would load numpy anew, which it refuses.
import crawler.bench
import crawler.verdicts  # noqa: F401

pytest_plugins = ["pytester"]

QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Without what an inner run needs not: hypothesis alone takes it a second to load."""


@pytest.fixture
def run(pytester: pytest.Pytester, demo: str):
    """Run a file of tests in which URL is the demo API's; gives the result."""

    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(f"import pytest\nURL = {demo + '/'!r}\n{body}")
        return pytester.runpytest_inprocess(*QUICK, *arguments)

    return run


def test_pytest_loads_it_by_itself_and_it_loads_nothing_heavy() -> None:
    """Installed is enough; a start of pytest imports none of what only a benchmark needs."""
    code = (
        "import sys, pytest\n"
        "pytest.main(['--version', '-q'])\n"
        "config = pytest.main(['--co', '-q', '--rootdir=/', '/dev/null'])\n"
        "heavy = {'numpy', 'pandas', 'requests', 'urllib3', 'pycurl', 'orjson', 'click'}\n"
        "heavy &= set(sys.modules)\n"
        "print('loaded:', 'crawler.pytest_plugin' in sys.modules, *heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "loaded: True", done.stdout + done.stderr


def test_the_marker_is_registered(pytester: pytest.Pytester) -> None:
    """``pytest --markers`` tells of it, and ``--strict-markers`` knows it."""
    pytester.makepyfile(
        """
        import pytest

        def test_known(request):
            assert any(line.startswith("latency(") for line in request.config.getini("markers"))
        """
    )
    pytester.runpytest_inprocess(*QUICK, "--strict-markers").assert_outcomes(passed=1)
    pytester.runpytest_inprocess(*QUICK, "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.latency(*"]
    )


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ('p95="abc"', "@pytest.mark.latency 'p95<=abc', column 6: 'abc' is no duration;*"),
        ('p95="200"', "@pytest.mark.latency 'p95<=200', column 6: '200' has no unit*"),
        ('median="1s"', "*column 1: 'median' is nothing that is measured*"),
        ('errors="2x"', "*column 9: '2x' is no share up to 100% and no count*"),
        ('rate="fast"', "*column 7: 'fast' is no rate*"),
        ('"p95<200ms, p99"', "*column 12: 'p99' has no limit*"),
        ("", "@pytest.mark.latency gives no limit: give some, as *"),
    ],
)
def test_a_wrong_limit_is_an_error_of_its_test_alone(run, marker: str, said: str) -> None:
    """A limit that does not parse is told with its place before the test runs; others run."""
    result = run(
        f"""
@pytest.mark.latency({marker})
def test_wrong(bench):
    raise SystemError("it ran")

def test_other():
    pass
"""
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*it ran*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_marker_without_the_fixture_is_an_error(run) -> None:
    """Limits that nothing could be held to are a mistake, not a pass."""
    result = run(
        """
@pytest.mark.latency(p95="1s")
def test_wrong():
    pass
"""
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the test does not use the fixture bench*"])


def test_a_test_that_benches_nothing_fails(run) -> None:
    """A limit on nothing is not held."""
    result = run(
        """
@pytest.mark.latency(p95="1s")
def test_idle(bench):
    pass
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the test benched nothing: call bench(url)*"])


def test_a_test_that_fails_by_itself_is_not_judged(run) -> None:
    """Its own failure is what is told."""
    result = run(
        """
@pytest.mark.latency(p95="1s")
def test_broken(bench):
    assert 1 == 2
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*"])
    result.stdout.no_fnmatch_line("*benched nothing*")


def test_a_test_whose_limits_hold_passes_and_tells_what_was_measured(run) -> None:
    """Each limit is a line after the run, in the words of the command."""
    result = run(
        """
@pytest.mark.latency(p95="20s", errors="0%", rate="0.1/s")
def test_fine(bench):
    report = bench(URL + "health")
    assert report.figures.total.requests == 100
    assert report.figures.statuses == {200: 100}
"""
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "=* latency =*",
            "*::test_fine: p95<=20s: held: service time *s (95 % confidence: *)",
            "*::test_fine: errors<=0%: held: 0 % (0 of 100 failed; 95 % confidence: 0-3.7 %)",
            "*::test_fine: rate>=0.1/s: held: */s (100 requests in *s)",
        ]
    )


def test_a_broken_limit_fails_its_test_in_the_words_of_the_command(run) -> None:
    """What is broken is told with what was measured; what held is not in the way."""
    result = run(
        """
@pytest.mark.latency("max<1us", p50="10ms", errors="0%")
def test_slow(bench):
    bench(URL + "health?delay=30ms", requests=12, concurrency=3)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "max<1us: broken: service time * ms",
            "p50<=10ms: broken: service time 3* ms (95 % confidence: 3*)",
        ]
    )
    result.stdout.no_fnmatch_line("*errors<=0%*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_failed_requests_are_an_error_share_and_no_latency(run) -> None:
    """A server that only fails holds no latency, and why it does is told."""
    result = run(
        """
@pytest.mark.latency(p95="20s", errors="5%")
def test_down(bench):
    bench(URL + "status/503", requests=40)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "p95<=20s: broken: no request of 40 succeeded, so there is no latency",
            "errors<=5%: broken: 100 % (40 of 40 failed; 95 % confidence: 91.2-100 %)",
            "http: 40 failed, first http://*/status/503: HTTP 503*",
        ]
    )


def test_with_a_rate_the_limits_are_of_the_response_time(run) -> None:
    """Requests are sent when they are due, and timed from then."""
    result = run(
        """
@pytest.mark.latency(p95="20s", lag_p50="5s")
def test_open_loop(bench):
    report = bench(URL + "health", rate="100/s", duration="300ms", warmup=5)
    assert report.figures.total.requests == 30
    assert report.figures.warmup == 5
"""
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*p95<=20s: held: response time *", "*lag.p50<=5s: held: *"])


def test_each_call_is_held_to_the_limits(run) -> None:
    """One slow endpoint is not hidden by a fast one; the words say which call it was."""
    result = run(
        """
@pytest.mark.latency(min="15ms")
def test_two(bench):
    bench([URL + "health", URL + "novel/1"], requests=10)
    bench(URL + "health?delay=30ms", requests=10)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["bench 2 of 2: min<=15ms: broken: service time 3* ms"])
    result.stdout.no_fnmatch_line("*bench 1 of 2*broken*")


def test_the_nearest_marker_decides(run) -> None:
    """A test's own limit stands in for its class's of the same figure; others are added."""
    result = run(
        """
@pytest.mark.latency(max="1us", errors="0%")
class TestApi:
    @pytest.mark.latency(max="20s")
    def test_own(self, bench):
        bench(URL + "health", requests=5)
"""
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*max<=20s: held*", "*errors<=0%: held*"])
    result.stdout.no_fnmatch_line("*max<=1us*")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("bench(URL, rate='x')", "*UsageError: rate 'x', column 1: 'x' is no rate; *"),
        ("bench(URL, duration='x')", "*UsageError: duration: 'x' is no duration; *"),
        ("bench(URL, timeout=3)", "*UsageError: there is no option timeout: *timeout_s?"),
        ("bench([])", "*UsageError: a benchmark was given no URL: *"),
        ("bench(URL, requests=0)", "*UsageError: *0: give a whole number of at least 1"),
    ],
)
def test_a_call_that_cannot_be_used_says_so_where_it_stands(run, call: str, said: str) -> None:
    """The error is the call's own line, without the plugin's insides."""
    result = run(f"def test_wrong(bench):\n    {call}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">*{call}", said])
    result.stdout.no_fnmatch_line("*pytest_plugin.py:*")


def test_settings_reach_the_requests(run) -> None:
    """Headers, methods and the other settings are given by their names."""
    result = run(
        """
def test_post(bench):
    report = bench(URL + "basic-auth/ann/secret", requests=3, user=("ann", "secret"))
    assert report.figures.statuses == {200: 3}
"""
    )
    result.assert_outcomes(passed=1)


def test_a_server_on_a_thread_of_the_test_can_be_benched(run) -> None:
    """As live servers of web frameworks are: the process then has threads, and is not forked."""
    result = run(
        """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

@pytest.fixture
def live():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()

@pytest.mark.latency(p50="20s", errors="0%")
def test_live(bench, live):
    assert bench(live, requests=20).figures.total.ok == 20
"""
    )
    result.assert_outcomes(passed=1)


def test_the_words_are_in_the_junit_file(run, pytester: pytest.Pytester) -> None:
    """A verdict is a property of its test case, so that a build server shows it."""
    run(
        """
@pytest.mark.latency(max="20s")
def test_kept(bench):
    bench(URL + "health", requests=3)
""",
        "--junitxml=junit.xml",
    ).assert_outcomes(passed=1)
    text = (pytester.path / "junit.xml").read_text()
    assert '<property name="latency" value="max&lt;=20s: held: service time ' in text


def test_quiet_runs_stay_quiet(run) -> None:
    """With ``-q`` the lines of what held are left out."""
    result = run(
        """
@pytest.mark.latency(max="20s")
def test_fine(bench):
    bench(URL + "health", requests=3)
""",
        "-q",
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*held*")
