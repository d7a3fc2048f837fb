"""What a ``requests.Session`` means to an engine: headers, secrets, proxies, TLS, limits."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth, HTTPDigestAuth, HTTPProxyAuth

from crawler.errors import SessionError
from crawler.profile import Profile, profile_of, with_params
from crawler.session import beyond_curl, build_session, cookie_header, profile
from crawler.settings import DEFAULT_USER_AGENT, Settings

NEUTRAL = {
    "User-Agent": DEFAULT_USER_AGENT,
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def of_options(**options: Any) -> Profile:
    settings = Settings(**options)
    return profile(build_session(settings), settings)


def of_session(session: requests.Session, **options: Any) -> Profile:
    return profile(session, Settings(**options))


def own(given: Profile) -> dict[str, str]:
    return dict(given.headers)


def test_without_options_only_neutral_headers_are_sent() -> None:
    """The least there is: who asks, that anything will do, and what can be decoded."""
    plain = of_options()
    assert own(plain) == dict(plain.neutral_headers) == NEUTRAL
    assert (plain.verify, plain.cert, plain.params) == (True, None, ())


def test_a_new_session_means_the_same_as_no_session() -> None:
    """requests' own defaults (its User-Agent, Connection: keep-alive, br) are not the user's."""
    assert of_session(requests.Session()) == of_options()


@given(
    user=st.none() | st.tuples(st.text("aé:", max_size=3), st.text("bü", max_size=3)),
    bearer=st.none() | st.text("t0k", min_size=1, max_size=3),
    cookies=st.lists(st.sampled_from(("a=b", "a=c", "d = e")), max_size=3).map(tuple),
    headers=st.lists(
        st.tuples(
            st.sampled_from(("X-A", "x-a", "Cookie", "authorization", "Accept", "User-Agent")),
            st.sampled_from(("1", "*/*", DEFAULT_USER_AGENT)),
        ),
        max_size=4,
    ).map(tuple),
    proxy=st.none() | st.just("http://p:1"),
    verify_tls=st.booleans(),
    compression=st.booleans(),
)
def test_options_mean_the_same_with_and_without_a_session(**options: Any) -> None:
    """What is read without requests is what requests would have been told."""
    if options["user"] is not None and options["bearer"] is not None:
        options["user"] = None  # one or the other
    assert profile_of(Settings(**options)) == of_options(**options)


def test_no_compression_asks_for_identity() -> None:
    """--no-compression: servers are told so, everywhere."""
    assert dict(of_options(compression=False).neutral_headers)["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"user": ("me", "pä:ss")}, ("Authorization", "Basic bWU6cMOkOnNz")),
        ({"bearer": "t0k"}, ("Authorization", "Bearer t0k")),
        ({"cookies": ("a=b", "c = d=e")}, ("Cookie", "a=b; c=d=e")),
        ({"headers": (("X-A", "1"),)}, ("X-A", "1")),
        ({"headers": (("accept", "text/html"),)}, ("accept", "text/html")),
        ({"user_agent": "me/1", "headers": (("user-agent", "me/2"),)}, ("user-agent", "me/2")),
        ({"user": ("a", "b"), "headers": (("authorization", "X y"),)}, ("authorization", "X y")),
    ],
)
def test_options_become_headers(options: dict[str, Any], header: tuple[str, str]) -> None:
    """Each option is one header on the own origin; -H wins over all, whatever its case."""
    made = of_options(**options)
    assert header in made.headers
    names = [name.lower() for name, _ in made.headers]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "options",
    [
        {"user": ("me", "secret")},
        {"bearer": "secret"},
        {"cookies": ("a=secret",)},
        {"headers": (("X-Key", "secret"), ("User-Agent", "secret"))},
    ],
)
def test_what_the_user_gave_is_for_the_own_origin_only(options: dict[str, Any]) -> None:
    """Where a redirect leads, nothing goes that tells who the user is; nor into a repr."""
    made = of_options(**options)
    assert "secret" not in str(made.neutral_headers)
    assert dict(made.neutral_headers) == NEUTRAL
    assert "secret" not in repr(made)


def test_a_header_may_be_repeated() -> None:
    """Options keep what a dict would lose: a header given twice is sent twice, in order."""
    pairs = (("X-A", "1"), ("X-B", "2"), ("X-A", "3"))
    assert of_options(headers=pairs).headers[-3:] == pairs


@given(st.text(), st.text())
def test_basic_credentials_survive(user: str, password: str) -> None:
    """User and password arrive as UTF-8 whatever they hold (RFC 7617)."""
    if any("\ud800" <= ch <= "\udfff" for ch in user + password):
        return
    header = own(of_options(user=(user, password)))["Authorization"]
    assert b64decode(header.removeprefix("Basic ")).decode() == f"{user}:{password}"


def test_a_sessions_headers_are_read() -> None:
    """Changed headers count, bytes too; a header set to None is not sent at all."""
    session = requests.Session()
    session.headers.update({"X-A": "1", "user-agent": "mine", b"X-B": b"2"})  # type: ignore[dict-item]
    session.headers["Accept"] = None  # type: ignore[assignment]
    assert own(of_session(session)) == {
        "Accept-Encoding": "gzip, deflate",
        "X-A": "1",
        "user-agent": "mine",
        "X-B": "2",
    }


@pytest.mark.parametrize("auth", [("me", "pw"), HTTPBasicAuth("me", "pw")])
def test_a_sessions_basic_auth_is_read(auth: Any) -> None:
    """A pair and HTTPBasicAuth are the same header; it wins over one in ``headers``."""
    session = requests.Session()
    session.headers["Authorization"] = "old"
    session.auth = auth
    assert own(of_session(session))["Authorization"] == "Basic bWU6cHc="


def test_options_win_over_the_session() -> None:
    """What is said for this run holds over what the session has from before."""
    session = requests.Session()
    session.headers["X-A"] = "session"
    session.auth = ("session", "pw")
    session.cookies.set("a", "session")
    session.proxies = {"http": "http://session:1"}
    made = of_session(
        session,
        headers=(("x-a", "option"),),
        bearer="option",
        cookies=("a=option",),
        proxy="http://option:2",
    )
    assert own(made)["x-a"] == "option"
    assert "X-A" not in own(made)
    assert own(made)["Authorization"] == "Bearer option"
    assert own(made)["Cookie"] == "a=option"
    assert made.proxies == ("http://option:2", "http://option:2")


def test_cookies_for_everywhere_are_a_header_and_scoped_ones_are_asked_for() -> None:
    """A cookie for one domain goes to that domain only, so it is in no constant header."""
    session = requests.Session()
    session.cookies.set("all", "1")
    assert own(of_session(session))["Cookie"] == "all=1"
    assert not of_session(session).scoped_cookies
    session.cookies.set("one", "2", domain="api.test", path="/v1")
    assert own(of_session(session))["Cookie"] == "all=1"
    assert of_session(session).scoped_cookies
    assert set(str(cookie_header(session, "http://api.test/v1/x")).split("; ")) == {
        "all=1",
        "one=2",
    }
    assert cookie_header(session, "http://api.test/v2") == "all=1"
    assert cookie_header(session, "http://other.test/v1/x") == "all=1"


def test_an_empty_jar_gives_no_cookie_header() -> None:
    """No cookie, no header."""
    assert cookie_header(requests.Session(), "http://api.test/") is None


@pytest.mark.parametrize("cookie", ["novalue", "=b", "a=b; c=d", "a=b\r\nX: y"])
def test_a_cookie_that_is_none_is_refused(cookie: str) -> None:
    """--cookie takes one NAME=VALUE; what would smuggle in more is refused."""
    with pytest.raises(SessionError, match="NAME=VALUE"):
        of_options(cookies=(cookie,))


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\0", 5])
def test_a_session_header_that_cannot_be_sent_is_refused(value: Any) -> None:
    """A header with a line break, or of no text, is an error before anything is sent."""
    session = requests.Session()
    session.headers["X-Bad"] = value
    with pytest.raises(SessionError, match="X-Bad"):
        of_session(session)


@pytest.mark.parametrize(
    ("proxies", "trust_env", "expected"),
    [
        ({}, True, None),
        ({}, False, (None, None)),
        ({"http": "http://p:1"}, True, ("http://p:1", None)),
        ({"all": "http://p:1", "https": "http://q:2"}, True, ("http://p:1", "http://q:2")),
    ],
)
def test_proxies_are_the_sessions_or_the_environments(
    proxies: dict[str, str], trust_env: bool, expected: Any
) -> None:
    """None leaves it to the environment; a pair of None means a direct connection."""
    session = requests.Session()
    session.proxies = proxies
    session.trust_env = trust_env
    assert of_session(session).proxies == expected


def test_verify_follows_option_session_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that says something wins: the option, the session, then the variables."""
    paths = [tmp_path / name for name in ("option", "session", "environment")]
    for path in paths:
        path.touch()
    option, session_bundle, environment = map(str, paths)
    session = requests.Session()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", environment)
    assert of_session(session).verify == environment
    session.verify = session_bundle
    assert of_session(session).verify == session_bundle
    assert of_session(session, cacert=option).verify == option
    assert of_session(session, verify_tls=False).verify is False
    session.verify = False
    assert of_session(session).verify is False
    session.verify, session.trust_env = True, False
    assert of_session(session).verify is True


@pytest.mark.parametrize("option", ["cacert", "cert"])
def test_a_missing_file_is_refused_before_the_run(option: str, tmp_path: Path) -> None:
    """A path that does not exist is named with its option."""
    with pytest.raises(SessionError, match=f"gone.pem.*--{option}"):
        of_options(**{option: str(tmp_path / "gone.pem")})


def test_certificate_and_key_are_a_pair(tmp_path: Path) -> None:
    """--cert alone is one file; with --key two; a session's list counts like a tuple."""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    cert.touch()
    key.touch()
    assert of_options(cert=str(cert)).cert == str(cert)
    assert of_options(cert=str(cert), key=str(key)).cert == (str(cert), str(key))
    session = requests.Session()
    session.cert = [str(cert), str(key)]  # type: ignore[assignment]
    assert of_session(session).cert == (str(cert), str(key))


def test_the_session_of_options_has_them_all(tmp_path: Path) -> None:
    """``build_session`` gives what a user could have written by hand."""
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    session = build_session(
        Settings(
            headers=(("X-A", "1"),), user=("me", "pw"), cookies=("a=b",), proxy="http://p:1",
            cacert=str(bundle), max_redirects=3, user_agent="me/1",
        )
    )  # fmt: skip
    assert session.headers["X-A"] == "1"
    assert session.headers["User-Agent"] == "me/1"
    assert session.auth == ("me", "pw")
    assert session.cookies.get("a") == "b"
    assert session.proxies == {"http": "http://p:1", "https": "http://p:1"}
    assert session.verify == str(bundle)
    assert session.max_redirects == 3
    assert beyond_curl(session) is None


def test_a_profile_crosses_to_another_process() -> None:
    """Workers get it pickled."""
    made = of_options(user=("me", "pw"), proxy="http://p:1", headers=(("X", "y"),))
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("params", "pairs"),
    [
        ({"a": 1, "b": ["x", "y"], "c": None}, (("a", "1"), ("b", "x"), ("b", "y"))),
        ([("a", b"1"), ("a", "2")], (("a", "1"), ("a", "2"))),
        ("a=1&b=", (("a", "1"), ("b", ""))),
        ({}, ()),
    ],
)
def test_params_are_read_as_requests_reads_them(params: Any, pairs: Any) -> None:
    """Lists repeat a name, None drops it, bytes and numbers are text."""
    session = requests.Session()
    session.params = params
    assert of_session(session).params == pairs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/", "http://h/?n=%E5%90%8D&s=a+b"),
        ("http://h/?x=1", "http://h/?x=1&n=%E5%90%8D&s=a+b"),
        ("http://h/?", "http://h/?n=%E5%90%8D&s=a+b"),
        ("http://h/#part", "http://h/?n=%E5%90%8D&s=a+b#part"),
    ],
)
def test_params_are_added_to_the_query(url: str, expected: str) -> None:
    """Params come after what the URL has, encoded as UTF-8, before the fragment."""
    assert with_params(url, (("n", "名"), ("s", "a b"))) == expected
    assert with_params(url, ()) == url


class OwnAdapter(HTTPAdapter):
    pass


class OwnSession(requests.Session):
    def send(self, *args: Any, **options: Any) -> requests.Response:
        return super().send(*args, **options)


def session_with(**attributes: Any) -> requests.Session:
    session = requests.Session()
    for name, value in attributes.items():
        setattr(session, name, value)
    return session


def mounted(prefix: str) -> requests.Session:
    session = requests.Session()
    session.mount(prefix, OwnAdapter())
    return session


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (mounted("https://api.test"), "OwnAdapter is mounted on https://api.test"),
        (mounted("http://"), "OwnAdapter is mounted on http://"),
        (session_with(auth=HTTPDigestAuth("a", "b")), "HTTPDigestAuth"),
        (session_with(auth=HTTPProxyAuth("a", "b")), "HTTPProxyAuth"),
        (session_with(auth=session_with), "session_with"),
        (session_with(hooks={"response": [print]}), "response hooks"),
        (session_with(proxies={"http://api.test": "http://p:1"}), "proxy for http://api.test"),
        (OwnSession(), "OwnSession has a send() of its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_libcurl_cannot_do_is_named(session: requests.Session, reason: str) -> None:
    """The reason says what in the session it is, so that a user understands the choice."""
    assert reason in str(beyond_curl(session))


@pytest.mark.parametrize(
    "session",
    [
        requests.Session(),
        session_with(auth=("a", "b")),
        session_with(auth=HTTPBasicAuth("a", "b")),
        session_with(verify=False, cert="x.pem", params={"a": 1}),
        session_with(proxies={"https": "http://p:1"}),
    ],
)
def test_what_libcurl_can_do_is_no_reason(session: requests.Session) -> None:
    """Headers, basic auth, proxies, TLS and plain adapters are all within libcurl's reach."""
    session.mount("https://api.test", HTTPAdapter(max_retries=3))
    assert beyond_curl(session) is None


def test_a_mock_is_beyond_libcurl() -> None:
    """With mocks of requests active, libcurl would go to the real network."""
    session = requests.Session()
    with responses.RequestsMock():
        assert "mocked" in str(beyond_curl(session))
    assert beyond_curl(session) is None


FIRST_USE: Final = """
import functools, io, sys
from unittest import mock
import crawler, requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

def send(self, request, **options):
    raw = HTTPResponse(io.BytesIO(b"mocked"), status=299, preload_content=False)
    return HTTPAdapter().build_response(request, raw)

with mock.patch({place!r}, {replacement}):
    records = list(crawler.crawl(["http://127.0.0.1:9/"], processes=0, retries=0).records())
print(records[0].status, "crawler.engines.curl" in sys.modules)
"""


def test_a_trace_of_requests_is_no_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wraps ``send`` to trace it sends as before, and need not be there."""
    real = requests.Session.send

    @functools.wraps(real)
    def traced(*args: Any, **options: Any) -> requests.Response:
        return real(*args, **options)

    monkeypatch.setattr(requests.Session, "send", traced)
    assert beyond_curl(requests.Session()) is None


@pytest.mark.parametrize(
    ("place", "replacement"),
    [
        ("requests.adapters.HTTPAdapter.send", "send"),
        ("requests.adapters.HTTPAdapter.send", "functools.wraps(HTTPAdapter.send)(send)"),
        ("requests.Session.send", "send"),
        ("requests.Session.get_adapter", "lambda self, url: type('A', (), {'send': send})()"),
    ],
)
def test_a_mock_that_was_there_before_us_is_seen(place: str, replacement: str) -> None:
    """As in a test whose first use of us comes while mocks are active: nothing is sent."""
    code = FIRST_USE.format(place=place, replacement=replacement)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["299", "False"]
