"""A request, read strictly: GET and HEAD without a body, and POST with a small one; the head has at most 16 KB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

#: Bytes of a request's line and headers together; browsers send about 1 KB.
MOST_HEAD_BYTES = 16 * 1024
#: Of a POST: names and numbers of pictures, no pictures.
MOST_BODY_BYTES = 8 * 1024
_MOST_HEADERS = 100
#: RFC 9112, sections 3 and 5; a target is one of its origin form, as clients send it to servers.
_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """method: GET, HEAD or POST. path: as sent, without the query. token: the query's, if any. headers: by names like
    "Last-Event-Id"; what stands twice is joined by a comma. body_bytes: how long the body is; body: once it is there.
    """

    method: str
    path: str
    token: str | None
    headers: Mapping[str, str]
    body_bytes: int = 0
    body: bytes = b""


class BadRequestError(Exception):
    """What is answered instead: `status` and a reason for a person."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def head_end(received: bytes | bytearray) -> int | None:
    """Where the head ends, None when it hasn't come yet. Raises BadRequestError for one of more than 16 KB."""
    end = received.find(_END, 0, MOST_HEAD_BYTES)
    if end < 0 and len(received) >= MOST_HEAD_BYTES:
        raise BadRequestError(431, f"the request's headers are longer than {MOST_HEAD_BYTES:,} bytes")
    return None if end < 0 else end


def parse_request(head: bytes | bytearray) -> Request:
    """The request of a whole head, without its last line's end. Raises BadRequestError."""
    line, *lines = head.decode("latin-1").split("\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadRequestError(400, "the first line is no request")
    method, target, major, _ = match.groups()
    if major != "1":
        raise BadRequestError(505, "this server speaks HTTP/1.1")
    if method not in ("GET", "HEAD", "POST"):
        raise BadRequestError(501, "this server answers GET, HEAD and POST")
    if not target.startswith("/"):
        raise BadRequestError(400, "the address has to begin with /")
    headers = _headers(lines)
    path, _, query = target.partition("?")
    return Request(method, path, _token(query), headers, _body_bytes(method, headers))


def whole_request(received: bytes | bytearray) -> Request | None:
    """The request, once its head and body are there; None before. Raises BadRequestError."""
    end = head_end(received)
    if end is None:
        return None
    request = parse_request(received[:end])
    start = end + len(_END)
    if len(received) < start + request.body_bytes:
        return None
    return replace(request, body=bytes(received[start : start + request.body_bytes]))


def _body_bytes(method: str, headers: Mapping[str, str]) -> int:
    said = headers.get("Content-Length", "0")
    if "Transfer-Encoding" in headers or (method != "POST" and said != "0"):
        raise BadRequestError(400, "a request with a body has no place here")
    if not re.fullmatch("[0-9]{1,9}", said, re.ASCII):
        raise BadRequestError(400, "the length of the body is no number")
    if int(said) > MOST_BODY_BYTES:
        raise BadRequestError(413, f"the body is longer than {MOST_BODY_BYTES:,} bytes")
    return int(said)


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > _MOST_HEADERS:
        raise BadRequestError(431, f"more than {_MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise BadRequestError(400, "a header is none")
        name, value = match[1].title(), match[2].rstrip(" \t")
        if name == "Host" and name in headers:
            raise BadRequestError(400, "there are two Host headers")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _token(query: str) -> str | None:
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if name == "token" and value:
            return unquote_plus(value)
    return None
