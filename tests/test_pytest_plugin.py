"""The pytest plugin, in pytest runs of its own against the demo API."""

from __future__ import annotations

import subprocess
import sys

import pytest

import crawler.verdicts  # noqa: F401 - or each inner run would load numpy anew, which it refuses

pytest_plugins = ["pytester"]

QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Without what an inner run needs not: hypothesis alone takes it a second to load."""


@pytest.fixture
def run(pytester: pytest.Pytester, demo: str):
    """Run a file of tests in which URL is the demo API's; gives the result."""

    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(f"import pytest\nURL = {demo!r}\n{body}")
        return pytester.runpytest_inprocess(*QUICK, *arguments)

    return run


def test_pytest_loads_it_by_itself_and_it_loads_nothing_heavy() -> None:
    """Installed is enough; a start of pytest imports none of what only a benchmark needs."""
    code = (
        "import sys, pytest\n"
        "pytest.main(['--version', '-q'])\n"
        "config = pytest.main(['--co', '-q', '--rootdir=/', '/dev/null'])\n"
        "heavy = {'numpy', 'pandas', 'requests', 'urllib3', 'pycurl', 'orjson', 'click'}\n"
        "print('loaded:', 'crawler.pytest_plugin' in sys.modules, *sorted(heavy & set(sys.modules)))"
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
    pytester.runpytest_inprocess(*QUICK, "--markers").stdout.fnmatch_lines(["@pytest.mark.latency(*"])


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
