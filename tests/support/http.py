"""Plain HTTP by hand: what a browser wouldn't send, too."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def get(port: int, path: str, *, method: str = "GET", **headers: str) -> Answer:
    """Header names with _ for -; Host is 127.0.0.1 unless given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@dataclass
class Stream:
    """A viewer of an endless answer."""

    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    received: bytes = b""

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **self.headers}.items())
        self.socket.sendall(f"GET {self.path} HTTP/1.1\r\n{lines}\r\n".encode())

    def read_until(self, *, count: int, of: bytes) -> bytes:
        """Everything so far, as soon as `of` stands in it `count` times."""
        while self.received.count(of) < count:
            piece = self.socket.recv(1 << 16)
            assert piece, f"the stream ended after {self.received[-300:]!r}"
            self.received += piece
        return self.received

    def read_to_end(self) -> bytes:
        while piece := self.socket.recv(1 << 16):
            self.received += piece
        return self.received

    def close(self) -> None:
        self.socket.close()
