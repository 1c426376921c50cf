"""A request's head, read strictly: GET and HEAD without a body, of at most 16 KB, are all that this server takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

#: Bytes of a request's line and headers together; browsers send about 1 KB.
MOST_HEAD_BYTES = 16 * 1024
_MOST_HEADERS = 100
#: RFC 9112, sections 3 and 5; a target is one of its origin form, as clients send it to servers.
_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """method: GET or HEAD. path: as sent, without the query. token: the query's, if any. headers: by names like
    "Last-Event-Id"; what stands twice is joined by a comma.
    """

    method: str
    path: str
    token: str | None
    headers: Mapping[str, str]


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
    if method not in ("GET", "HEAD"):
        raise BadRequestError(501, "this server answers GET and HEAD")
    if not target.startswith("/"):
        raise BadRequestError(400, "the address has to begin with /")
    headers = _headers(lines)
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        raise BadRequestError(400, "a request with a body has no place here")
    path, _, query = target.partition("?")
    return Request(method, path, _token(query), headers)


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
