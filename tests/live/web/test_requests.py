from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_effnet.live.web.requests import MOST_HEAD_BYTES, BadRequestError, head_end, parse_request


def test_a_browsers_request() -> None:
    request = parse_request(
        b"GET /api/events?x=1&token=a%2Bb+c&token=second HTTP/1.1\r\nhost: pi.local:8080\r\n"
        b"Cookie: a=1\r\nlast-event-id: \t7 \r\nCookie: b=2"
    )
    assert (request.method, request.path, request.token) == ("GET", "/api/events", "a+b c")
    assert request.headers == {"Host": "pi.local:8080", "Cookie": "a=1, b=2", "Last-Event-Id": "7"}
    assert parse_request(b"HEAD /?token= HTTP/1.0\r\nHost: a").token is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"get / HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET http://127.0.0.1/ HTTP/1.1", 400),
        (b"GET //[ HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"GET / HTTP/2.0", 505),
        (b"PUT / HTTP/1.1", 501),
        (b"POST / HTTP/1.1\r\nContent-Length: 8193", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked", 400),
        (b"GET / HTTP/1.1\r\nNo header", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nA : b", 400),
        (b"GET / HTTP/1.1\r\nA: b\x00", 400),
        (b"GET / HTTP/1.1\r\nA: b\nc: d", 400),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 101, 431),
    ],
)
def test_what_is_no_request_for_us(head: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_request(head)
    assert caught.value.status == status


def test_the_end_of_a_head_and_its_bound() -> None:
    assert head_end(b"GET / HTTP/1.1\r\n") is None
    assert head_end(b"GET / HTTP/1.1\r\n\r\nGET /") == 14
    assert head_end(b"x" * (MOST_HEAD_BYTES - 4) + b"\r\n\r\n") == MOST_HEAD_BYTES - 4
    for too_long in (b"x" * MOST_HEAD_BYTES, b"x" * (MOST_HEAD_BYTES - 3) + b"\r\n\r\n"):
        with pytest.raises(BadRequestError, match="longer than 16,384 bytes") as caught:
            head_end(too_long)
        assert caught.value.status == 431


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(tail: bytes) -> None:
    for head in (tail, b"GET /" + tail + b" HTTP/1.1", b"GET / HTTP/1.1\r\nHost: " + tail):
        try:
            path = parse_request(head).path
        except BadRequestError as error:
            path = f"/{error.status}"
        assert path.startswith("/")
