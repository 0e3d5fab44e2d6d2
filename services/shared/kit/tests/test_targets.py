"""URLs are read strictly: what two parsers could read differently is not read at all."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from crewmesh_kit.outbound.targets import BadUrlError, parse_target
from hypothesis import given, settings
from hypothesis import strategies as st

REFUSED = [
    "",
    "example.com/hook",
    "//example.com/hook",
    "/hook",
    "http:/example.com",
    "http:example.com",
    "http://",
    "https:///hook",
    "file:///etc/passwd",
    "gopher://example.com:70/_x",
    "ftp://example.com/",
    "dict://127.0.0.1:6379/info",
    "javascript:alert(1)",
    "data:text/plain,hello",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/info",
    # credentials, and the tricks that hide the true host behind them
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://@example.com/",
    "http://example.com:80@127.0.0.1/",
    # characters on which parsers disagree
    "http://example.com\\@127.0.0.1/",
    "http:\\\\example.com/",
    "http://exa mple.com/",
    " http://example.com/",
    "http://example.com/a b",
    "http://example.com/\r\nX-Injected: 1",
    "http://example.com/\x00",
    "http://example.com\t/",
    "http://exam%70le.com/",
    "http://127.0.0.1%2f@example.com/",
    # ports
    "http://example.com:/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-80/",
    "http://example.com:8o80/",
    "http://example.com:80:80/",
    # addresses in clothes: decimal, octal, hexadecimal, short, too long, with a dot more, in other digits
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x/",
    "http://1.2.3.4.5/",
    "http://256.256.256.256/",
    "http://127.0.0.1./",
    "http://127.0.0.01/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    # IPv6
    "http://[::1/",
    "http://::1/",
    "http://[fe80::1%25eth0]/",
    "http://[127.0.0.1]/",
    "http://[::1]x/",
    "http://[example.com]/",
    # names
    "http://a..b/",
    "http://.example.com/",
    "http://-example.com/",
    "http://example-.com/",
    "http://exam!ple.com/",
    f"http://{'a' * 64}.com/",
    f"http://{'a.' * 127}com/",
    "http://xn--\udc80.com/",
    "http://example.com/\udc80",
    "http://‮moc.elpmaxe/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_refuses(url: str) -> None:
    with pytest.raises(BadUrlError):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "sent_as"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://EXAMPLE.com:443/Hook", "https://example.com/Hook"),
        ("https://example.com./", "https://example.com/"),
        ("https://example.com:8443/a?b=c&d=%20#fragment", "https://example.com:8443/a?b=c&d=%20"),
        ("https://bücher.example/ä?q=ö", "https://xn--bcher-kva.example/%C3%A4?q=%C3%B6"),
        ("https://my_bucket.s3.example.com/x", "https://my_bucket.s3.example.com/x"),
        ("https://example.com/a%2Fb/../c;d=e|f", "https://example.com/a%2Fb/../c;d=e|f"),
        ("http://93.184.215.14:8080/x", "http://93.184.215.14:8080/x"),
        ("http://[2606:4700::1111]:8080/x", "http://[2606:4700::1111]:8080/x"),
        ("http://example.com?q", "http://example.com/?q"),
    ],
)
def test_sends_what_it_read(url: str, sent_as: str) -> None:
    assert str(parse_target(url).url) == sent_as


def test_an_error_does_not_repeat_the_url() -> None:
    with pytest.raises(BadUrlError) as refused:
        parse_target("http://user:canary@example.com/?token=canary")
    assert "canary" not in str(refused.value)


# Pieces that parsers have been known to disagree about, in any order.
_DISPUTED = (
    *("http://", "https://", "//", "/", "\\", "@", ":", ":80", "?", "#", "%2f", "%00", ".", "..", "[", "]", "::1"),
    *("127.0.0.1", "2130706433", "0x7f", "localhost", "example.com", "a", "ß", "。", "①", "\t", "\n", " ", "xn--"),
)
_PIECES = st.sampled_from(_DISPUTED)
_URLS = st.one_of(
    st.text(max_size=60),
    st.lists(_PIECES, max_size=8).map("".join),
    st.lists(_PIECES, max_size=6).map(lambda pieces: "http://" + "".join(pieces)),
)


@given(_URLS)
@settings(max_examples=1_000)
def test_whatever_is_accepted_means_the_same_to_the_http_client(text: str) -> None:
    try:
        target = parse_target(text)
    except BadUrlError:
        return
    url = target.url
    assert (url.scheme, url.raw_host, url.port) == target.origin
    assert url.user is None
    assert url.password is None
    assert (url.raw_path, url.raw_query_string) == (target.path, target.query)
    assert parse_target(str(url)) == target
    assert str(url).isascii()


@pytest.mark.parametrize("piece", _DISPUTED)
@pytest.mark.parametrize("before", ["http://", "http://example.com/", "http://example.com/?"])
def test_the_time_it_takes_grows_with_the_text_and_no_faster(before: str, piece: str) -> None:
    def takes(characters: int) -> float:
        text = before + piece * (characters // len(piece))
        began = time.thread_time()
        with suppress(BadUrlError):
            parse_target(text)
        return time.thread_time() - began

    short = max(min(takes(100) for _ in range(3)), 0.001)
    assert takes(10_000) < 100 * short * 20
