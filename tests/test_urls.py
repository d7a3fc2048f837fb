"""URLs: what goes on the wire, what is refused and why, and that no secret is shown."""

from __future__ import annotations

import re
import timeit
from contextlib import closing, suppress
from urllib.parse import quote, urljoin, urlsplit

import pycurl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from crawler.urls import MAX_URL_LENGTH, InvalidUrl, join, mask, wire_url

URLISH = st.text(
    alphabet=st.one_of(
        st.sampled_from(":/?#[]@!$&'()*+,;=%.-_~\\ \t|^`{}<>\"0123456789abcxyzAZ"),
        st.characters(),
    ),
    max_size=60,
)
ANY_TEXT = st.one_of(
    st.text(),
    st.builds(
        lambda scheme, rest: f"{scheme}://{rest}", st.sampled_from(["http", "HTTPS"]), URLISH
    ),
    st.builds(
        lambda host, tail: f"http://{host}{tail}",
        st.from_regex(r"[a-z0-9._-]{1,12}(:[0-9]{0,6})?", fullmatch=True),
        st.builds(lambda sep, rest: sep + rest, st.sampled_from("/?#"), URLISH),
    ),
    st.ip_addresses(v=6).map(lambda address: f"http://[{address}]/x"),
)


def curl_error(url: str) -> int:
    """libcurl's error code for ``url``, whatever its host, sent to a closed loopback port."""
    with closing(pycurl.Curl()) as handle:
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.CONNECT_TO, ["::127.0.0.1:1"])
        handle.setopt(pycurl.TIMEOUT_MS, 2000)
        try:
            handle.perform()
        except pycurl.error as error:
            code: int = error.args[0]
            return code
    return 0


def reason(text: str) -> str:
    with pytest.raises(InvalidUrl) as caught:
        wire_url(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://h/", "http://h/"),
        ("http://h", "http://h/"),
        ("http://h?a=1", "http://h/?a=1"),
        ("http://h/a#part", "http://h/a"),
        ("http://h#part", "http://h/"),
        ("HTTP://Example.COM/Path", "http://example.com/Path"),
        (" \thttp://h/x\t ", "http://h/x"),
        ("http://h/x\r\n", "http://h/x"),
        ("http://h/a b?c d", "http://h/a%20b?c%20d"),
        ("http://h/金瓶梅?q=é", "http://h/%E9%87%91%E7%93%B6%E6%A2%85?q=%C3%A9"),
        ("http://h/%e9%87%91%2F", "http://h/%e9%87%91%2F"),
        ("http://h/100%&%4", "http://h/100%25&%254"),
        ("http://h/a,b;c=[1]'(2)", "http://h/a,b;c=[1]'(2)"),
        ('http://h/"<>\\^`{|}', "http://h/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://h:/x", "http://h/x"),
        ("http://h:0080/x", "http://h:80/x"),
        ("http://h./x", "http://h./x"),
        ("http://a_b.c-d/", "http://a_b.c-d/"),
        ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://_dmarc.bücher.de/", "http://_dmarc.xn--bcher-kva.de/"),
        ("http://１２７.０.０.１/", "http://127.0.0.1/"),
        ("http://[0:0::1]:81/", "http://[::1]:81/"),
        ("http://[FE80::1%25eth0]/", "http://[fe80::1%25eth0]/"),
        ("http://h/@user:pass@x", "http://h/@user:pass@x"),
    ],
)
def test_wire_form(text: str, url: str) -> None:
    """What goes on the wire is ASCII, complete and canonical, and keeps what was encoded."""
    assert wire_url(text).url == url


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://h/", "http://h:80"),
        ("https://h/", "https://h:443"),
        ("https://H:8443/x", "https://h:8443"),
        ("http://h:80", "http://h:80"),
        ("https://[::1]/", "https://[::1]:443"),
        ("http://user@h:9/", "http://h:9"),
    ],
)
def test_origin_always_names_its_port(text: str, origin: str) -> None:
    """Two URLs have the same origin exactly when scheme, host and effective port agree."""
    assert wire_url(text).origin == origin


@pytest.mark.parametrize(
    ("text", "credentials", "shown"),
    [
        ("http://h/", None, "http://h/"),
        ("http://joe@h/", ("joe", ""), "http://***@h/"),
        ("HTTP://joe:s%40c%3Ar%2Fet@h/a b#c", ("joe", "s@c:r/et"), "HTTP://***@h/a b#c"),
        ("http://:pw@h", ("", "pw"), "http://***@h"),
        ("http://jö:pä@h/", ("jö", "pä"), "http://***@h/"),
        ("http://a:b:c@h/", ("a", "b:c"), "http://***@h/"),
        ("http://@h/", None, "http://***@h/"),
    ],
)
def test_credentials_leave_the_url(
    text: str, credentials: tuple[str, str] | None, shown: str
) -> None:
    """Userinfo is decoded into credentials, is not on the wire, and is shown only as ***."""
    wire = wire_url(text)
    assert wire.credentials == credentials
    assert wire.shown == shown
    assert "@" not in urlsplit(wire.url).netloc


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("example.com/x", "write http:// in front, as 'http://example.com/x'"),
        ("//example.com/x", "'http://example.com/x'"),
        ("localhost:8080/x", "'http://localhost:8080/x'"),
        ("ftp://h/", "'ftp'"),
        ("file:///etc/passwd", "'file'"),
        ("mailto:joe@example.com", "'mailto'"),
        ("javascript:alert(1)", "'javascript'"),
        ("http:/h", "two slashes"),
        ("http:h", "two slashes"),
        ("http://", "empty"),
        ("http:///x", "empty"),
        ("http://?x", "empty"),
        ("http://:80/", "empty"),
        ("http://./", "empty"),
        ("http://a..b/", "empty label"),
        ("http://.a/", "empty label"),
        (f"http://{'a' * 64}/", "64 characters"),
        (f"http://{'ü' * 62}.de/", "domain name"),
        ("http://" + ".".join(["a" * 50] * 6), "253"),
        ("http://h:0/", "port"),
        ("http://h:65536/", "port"),
        ("http://h:99999/", "port"),
        ("http://h:" + "9" * 5000, "port"),
        ("http://h:-1/", "port"),
        ("http://h:٨٠/", "port"),
        ("http://h:80:80/", "[brackets]"),
        ("http://::1/", "[brackets]"),
        ("http://[::1/", "]"),
        ("http://[::g]/", "IPv6"),
        ("http://[]/", "IPv6"),
        ("http://[127.0.0.1]/", "IPv6"),
        ("http://[::1%25]/", "IPv6"),
        ("http://[::1%eth0]/", "IPv6"),
        ("http://[::1]x/", "]"),
        ("http://h\x00/", "U+0000"),
        ("http://h/a\r\nX: y", "U+000D at position 10"),
        ("http://h/a\nb", "U+000A"),
        ("http://h/\x7f", "U+007F"),
        ("http://h/\x85x", "U+0085"),
        ("http://h/\udcff", "UTF-8"),
        ("http://h\\@evil/", "backslash"),
        ("http://h\\x", "backslash"),
        ("http://a b/", "' '"),
        ("http://a%41/", "'%'"),
        ("http://a／b/", "'/'"),
        ("http://a<b/", "'<'"),
        ("http://😀.com\ufffd/", "domain name"),
        ("http://a@b@c/", "%40"),
        ("http://a b@c/", "%20"),
        ("http://a:100%@c/", "%25"),
        ("http://a:%ff@c/", "UTF-8"),
        ("http://a%3Ab:c@d/", "colon"),
        ("http://a:b%0d%0a@d/", "control"),
        ("http://h/" + "a" * MAX_URL_LENGTH, "1,000,000"),
        ("http://h/" + "金" * 200_000, "1,000,000"),
    ],
)
def test_refused_with_the_reason(text: str, part: str) -> None:
    """What cannot be fetched is refused, and the reason says what is wrong."""
    assert part in reason(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://joe:s3cret/x@h/",
        "http://joe:s3 cret@h/",
        "http://joe:s3#cret@h/",
        "http://joe:s3?cret@h",
        "http://joe:s3\\cret@h/",
        "http://j\\oe:s3cret@h/",
        "http://joe:s3cret@h:99999/",
        "http://joe:s3cret@a..b/",
        "http://joe:s3cret@h\n/",
        "http://joe:s3\ncret@h/",
        "http://joe:s3%cret@h/",
        "http://j@oe:s3cret@h/",
        "http://joe:s3cret@[::1/",
        "joe:s3cret@h/x",
        "joe:s3/cret@h",
        "//joe:s3cret@h/x",
        "http:/joe:s3cret@h/",
        "http:\\\\joe:s3cret@h/",
        "ftp://joe:s3cret@h/",
        "\x00http://joe:s3cret@h/",
    ],
)
def test_a_broken_url_gives_no_secret_away(text: str) -> None:
    """Neither the reason nor the masked text of a refused URL shows user or password."""
    masked = mask(text)
    for shown in (reason(text), masked):
        assert not re.search("joe|s3|cret", shown)
    assert "***@" in masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no url at all", "no url at all"),
        ("http://h:80/@joe and http://[::1]/@x", "http://h:80/@joe and http://[::1]/@x"),
        ("failed: http://a:b@h/x", "failed: http://***@h/x"),
        ('got "http://a:b@h/", gave up', 'got "http://***@h/", gave up'),
        ("http://a:b@h/,http://c:d@i/", "http://***@h/,http://***@i/"),
        ("proxy a:b@proxy:3128 refused", "proxy ***@proxy:3128 refused"),
        ("<http://a@h/>", "<http://***@h/>"),
        ("5,http://a:b@h/,x", "5,http://***@h/,x"),
    ],
)
def test_mask_finds_urls_inside_messages(text: str, masked: str) -> None:
    """Masking hides userinfo wherever a URL stands, and leaves paths with an @ alone."""
    assert mask(text) == masked


@given(ANY_TEXT)
@example("http://1/")
@example("http://4294967296/")
@example("http://0x7f.1/")
@example("http://256.256.256.256/")
@example("http://1.2.3.4.5/")
@example("http://xn--a/")
@example("http://-/")
@example("http://h/../../a/./b")
@example("http://[fe80::1%25nosuch]/")
@example("http://a:b@h/")
@example("http://" + "a." * 126 + "a/")
def test_whatever_passes_is_fit_for_libcurl(text: str) -> None:
    """Any text is refused, or gives an idempotent ASCII URL that libcurl takes as it is."""
    try:
        wire = wire_url(text)
    except InvalidUrl:
        assert reason(text)
        return
    assert wire.url.isascii()
    assert wire.url.isprintable()
    assert " " not in wire.url
    again = wire_url(wire.url)
    assert again.url == wire.url
    assert again.origin == wire.origin
    assert again.credentials is None
    assert re.fullmatch(r"https?://(\[[^]]+\]|[^:/@]+):[0-9]+", wire.origin)
    assert curl_error(wire.url) == pycurl.E_COULDNT_CONNECT


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])), st.text(min_size=1))
def test_credentials_round_trip(user: str, password: str) -> None:
    """Percent-encoded userinfo comes back as it was, unless HTTP Basic cannot carry it."""
    url = f"http://{quote(user, safe='')}:{quote(password, safe='', errors='replace')}@h/"
    try:
        credentials = wire_url(url).credentials
    except InvalidUrl:
        assert ":" in user or any(not ch.isprintable() for ch in password)
    else:
        assert credentials == (user, password.encode(errors="replace").decode())


@given(st.text(), st.text(st.characters(categories=["L", "N"]), min_size=8), st.text())
def test_mask_hides_any_password(before: str, password: str, after: str) -> None:
    """No password in front of an @ survives masking, whatever stands around its URL."""
    assume(password not in before + after)
    assert password not in mask(f"{before} http://joe:{password}@h/ {after}")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("g:h", "g:h"),
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../../../g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("..g", "http://a/b/c/..g"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("http:g", "http:g"),
        (" /g ", "http://a/g"),
        ("g\x00h", "http://a/b/c/g\x00h"),
        ("金".encode().decode("latin-1"), "http://a/b/c/金"),
        ("/é", "http://a/%E9"),
        ("/金", "http://a/金"),
    ],
)
def test_join_follows_rfc_3986(location: str, target: str) -> None:
    """A Location is resolved as RFC 3986, 5.4 lists it, its bytes read as UTF-8 when they are."""
    assert join("http://a/b/c/d;p?q", location) == target


@pytest.mark.parametrize("base", ["http://a", "http://a?x"])
def test_join_to_a_base_without_a_path(base: str) -> None:
    """A relative path behind a bare host begins at the root."""
    assert join(base, "g") == "http://a/g"


@given(st.text(st.characters(max_codepoint=255)))
def test_join_never_raises(location: str) -> None:
    """Whatever a server sends as Location becomes text for wire_url to judge."""
    assert isinstance(join("http://a/b?c", location), str)


@given(st.from_regex(r"[a-z./]{0,12}(\?[a-z/.]{0,4})?", fullmatch=True))
def test_join_agrees_with_urljoin(location: str) -> None:
    """On ordinary references the outcome is urllib's (which drops an empty query)."""
    if location.endswith("?") or "//" in location:
        return
    assert join("http://a/b/c?q", location) == urljoin("http://a/b/c?q", location)


@pytest.mark.parametrize(
    "text",
    [
        "http://h/" + "%41" * 300_000,
        "http://h/" + "%" * 300_000,
        "http://" + "a." * 450_000,
        "http://" + "//a:b" * 180_000 + "@",
        "@" + "//a:b" * 180_000,
        "http://" + "a@" * 450_000,
        "http://a:" + "b@/" * 300_000,
        "a " * 450_000 + "@",
        "金" * 300_000,
    ],
)
def test_hostile_length_costs_linear_time(text: str) -> None:
    """A text of a megabyte is judged and masked in a moment, whatever is in it."""
    seconds = timeit.timeit(lambda: (mask(text), join("http://h/", text)), number=1)
    with suppress(InvalidUrl):
        seconds += timeit.timeit(lambda: wire_url(text), number=1)
    assert seconds < 2.0


def test_an_ordinary_url_takes_the_short_way() -> None:
    """An ordinary ASCII URL costs well below what the long way does (0.5 us against 3 us)."""
    short = min(timeit.repeat(lambda: wire_url("http://127.0.0.1:80/a?b=1"), number=5000))
    long = min(timeit.repeat(lambda: wire_url("http://127.0.0.1:80/a?b=1#c"), number=5000))
    assert short < long / 2
