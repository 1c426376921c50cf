"""What is sent back: whole answers and endless ones, each with headers that close the page to other hosts."""

from __future__ import annotations

import http
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: Nothing from other hosts, nothing inline, in nobody's frame; one request a connection, so that nothing can be read
#: as a second one.
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            *(f"{what}-src 'self'" for what in ("img", "style", "script", "connect")),
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    body: bytes
    kind: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self, method: str = "GET") -> bytes:
        """As it is sent; to HEAD without the body."""
        lines = head(self.status, {**self.headers, "Content-Type": self.kind, "Content-Length": str(len(self.body))})
        return lines if method == "HEAD" else lines + self.body


@dataclass(frozen=True)
class Stream:
    """An endless answer. viewers: which viewers it counts among; a piece that is empty says that there is nothing
    new.
    """

    viewers: str
    kind: str
    pieces: Iterator[bytes]


def refusal(status: int, why: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of one line."""
    return Answer(f"{why}\n".encode(), "text/plain; charset=utf-8", status, headers or {})


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers, to the empty line."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", "Server: edge-effnet"]
    lines += [f"{name}: {value}" for name, value in {**_HEADERS, **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
