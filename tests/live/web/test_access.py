from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_effnet.errors import UsageError
from edge_effnet.live.web import Access, WebAddress

TOKEN = "correct-horse"


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:8080", "::1", 8080, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("[::]:0", "::", 0, False),
        ("pi.local:80", "pi.local", 80, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = WebAddress.parse(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)


@pytest.mark.parametrize(
    "text", ["8080", "", ":8080", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:8080", "::1:8080", "a b:1"]
)
def test_addresses_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected HOST:PORT like 127\.0\.0\.1:8080"):
        WebAddress.parse(text)


def test_urls() -> None:
    assert WebAddress("127.0.0.1", 0).url(81) == "http://127.0.0.1:81/"
    assert WebAddress("::1", 0).url(81) == "http://[::1]:81/"
    assert WebAddress("0.0.0.0", 0).url(81) == f"http://{socket.gethostname()}:81/"


def test_others_need_a_token_or_an_open_door() -> None:
    everywhere, here = WebAddress("0.0.0.0", 80), WebAddress("127.0.0.1", 80)
    Access().check(here, is_open=False)
    Access(TOKEN).check(everywhere, is_open=False)
    Access().check(everywhere, is_open=True)
    with pytest.raises(UsageError, match=r"can be reached from other machines: .* --token \S{16}\), or --web-open"):
        Access().check(everywhere, is_open=False)


@pytest.mark.parametrize("token", ["short", "", "with blanks in it", "ümlautümlaut", "line\nbreakline"])
def test_tokens_that_are_too_weak(token: str) -> None:
    with pytest.raises(UsageError, match="too short or holds unusual characters"):
        Access(token)


def test_the_token_is_not_in_a_printed_record() -> None:
    assert TOKEN not in repr(Access(TOKEN))


@pytest.mark.parametrize(
    "header",
    [
        "127.0.0.1",
        "127.0.0.1:8080",
        "localhost:8080",
        "LOCALHOST",
        "[::1]:8080",
        "192.168.1.7:80",
        socket.gethostname(),
        "door.home:8080",
    ],
)
def test_hosts_that_are_us(header: str) -> None:
    assert Access(names=frozenset({"Door.home"})).knows_host(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "a@127.0.0.1",
        "[::1",
        "127.0.0.1:8080:1",
    ],
)
def test_hosts_that_are_not(header: str | None) -> None:
    """A foreign page whose name was made to point here (DNS rebinding) sends its own name."""
    assert not Access().knows_host(header)


@settings(max_examples=50)
@given(st.text())
def test_any_host_header_is_survived(header: str) -> None:
    Access().knows_host(header)


def test_the_ways_to_show_the_token() -> None:
    access = Access(TOKEN)
    assert access.admits({}, TOKEN, cookie="c")
    assert access.admits({"Authorization": f"Bearer {TOKEN}"}, None, cookie="c")
    assert access.admits({"Authorization": f"bearer  {TOKEN}"}, None, cookie="c")
    assert access.admits({"Cookie": f"other=1; c={access.cookie_value()}"}, None, cookie="c")
    assert TOKEN not in access.cookie_value()
    assert Access().admits({}, None, cookie="c")


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ({}, None),
        ({}, ""),
        ({}, TOKEN + "x"),
        ({}, TOKEN.upper()),
        ({"Authorization": f"Basic {TOKEN}"}, None),
        ({"Authorization": "Bearer"}, None),
        ({"Cookie": f"c={TOKEN}"}, None),
        ({"Cookie": "c="}, None),
        ({"Cookie": ";;==\x00"}, None),
        ({"Cookie": f"d={Access(TOKEN).cookie_value()}"}, None),
        ({"Cookie": f"c={Access('another-token').cookie_value()}"}, None),
    ],
)
def test_what_is_not_the_token(headers: dict[str, str], given: str | None) -> None:
    assert not Access(TOKEN).admits(headers, given, cookie="c")


@settings(max_examples=50)
@given(st.text(), st.text())
def test_anything_else_is_refused(cookie: str, given: str) -> None:
    assert not Access("only-this-one").admits({"Cookie": cookie, "Authorization": given}, given, cookie="c")
