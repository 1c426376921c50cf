"""One connection: which path is what, the headers, the two streams."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

from edge_effnet.live.web import files
from edge_effnet.text import json_text

if TYPE_CHECKING:
    from edge_effnet.live.web.server import WebServer

#: Nothing from other hosts, nothing inline, in nobody's frame.
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
}
_BOUNDARY = "edge-effnet-frame"
_TICK_S = 0.4
_WAIT_S = 1.0
_SEND_BUFFER = 1 << 17


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version = "edge-effnet"
    sys_version = ""
    disable_nagle_algorithm = True  # events are small, and wanted now
    #: Seconds a client may take to say what it wants.
    timeout = 15.0

    @property
    def _web(self) -> WebServer:
        return cast("WebServer", self.server)

    def do_GET(self) -> None:
        """Checks, then the path's answer."""
        address = urlsplit(self.path)
        token = parse_qs(address.query).get("token", [None])[0]
        access = self._web.access
        routes = self._routes()
        if not access.knows_host(self.headers.get("Host")):
            self._refuse(421, "this host name is not known here; use the machine's address, or name it with --web-name")
        elif address.path == "/healthz":
            status, document = self._web.health()
            self._answer(document, "application/json", status=status)
        elif not access.admits(dict(self.headers.items()), token, cookie=self._web.cookie):
            self._ask_for_token(address.path, given=token is not None)
        elif address.path == "/" and token is not None:
            self._to_the_page()
        elif address.path in routes:
            routes[address.path]()
        else:
            self._refuse(404, "there is no such page")

    def do_HEAD(self) -> None:
        """The same without the body."""
        self.do_GET()

    def _routes(self) -> dict[str, Callable[[], None]]:
        return {
            **{
                path: lambda name=name, kind=kind: self._answer(files.page_file(name), kind)
                for path, (name, kind) in files.PAGE.items()
            },  # type: ignore[misc]
            "/api/state": lambda: self._answer(self._web.state_json(), "application/json"),
            "/api/events": lambda: self._stream("events", "text/event-stream", self._events()),
            "/stream.mjpg": lambda: self._stream(
                "picture", f"multipart/x-mixed-replace; boundary={_BOUNDARY}", self._pictures()
            ),
            "/frame.jpg": self._frame,
        }

    def _answer(self, body: bytes, kind: str, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            **_HEADERS,
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        self._answer(f"{why}\n".encode(), "text/plain; charset=utf-8", status=status, headers=headers)

    def _ask_for_token(self, path: str, *, given: bool) -> None:
        if path == "/":
            page = files.page_file("token.html").replace(b"<!--wrong-->", b"That wasn't it." if given else b"")
            self._answer(page, files.HTML, status=401, headers={"WWW-Authenticate": "Bearer"})
        elif path in ("/page.css", "/icon.svg"):
            self._routes()[path]()
        else:
            self._refuse(
                401,
                "this needs the token: ?token=…, or the header Authorization: Bearer …",
                {"WWW-Authenticate": "Bearer"},
            )

    def _to_the_page(self) -> None:
        """With the cookie instead of the token, which then stands in no address bar and no history."""
        cookie = (
            f"{self._web.cookie}={self._web.access.cookie_value()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"
        )
        self._answer(b"", files.HTML, status=303, headers={"Location": "/", "Set-Cookie": cookie})

    def _frame(self) -> None:
        picture = self._web.pictures.current()
        if picture is None:
            self._refuse(503, "there was no frame yet")
        else:
            self._answer(picture.jpeg, "image/jpeg")

    def _stream(self, kind: str, content_type: str, pieces: Iterator[bytes]) -> None:
        """Pieces until the viewer goes, the server closes, or the viewer takes nothing for too long."""
        if not self._web.admit_viewer(kind):
            self._refuse(
                503, f"{self._web.most_viewers} viewers are here already; try again later", {"Retry-After": "10"}
            )
            return
        dropped = False
        try:
            self.close_connection = True
            self._begin_stream(content_type)
            if self.command != "HEAD":
                for piece in pieces:
                    self.wfile.write(piece)
        except TimeoutError:
            dropped = True
        except OSError:
            pass  # the viewer has gone
        finally:
            self._web.dismiss_viewer(kind, dropped=dropped)

    def _begin_stream(self, content_type: str) -> None:
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER
        )  # what waits in it is old when it arrives
        self.connection.settimeout(self._web.send_timeout_s)
        self.send_response(200)
        for name, value in {**_HEADERS, "Content-Type": content_type, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _pictures(self) -> Iterator[bytes]:
        """Each part ends with the next boundary, so that a browser shows it at once."""
        yield f"--{_BOUNDARY}\r\n".encode()
        picture = None
        while not self._web.closing.is_set():
            newer = self._web.pictures.newer(picture, _WAIT_S)
            if newer is None:
                continue
            picture = newer
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n".encode()
            yield head + picture.jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()

    def _events(self) -> Iterator[bytes]:
        """Each event once, by number (a browser that returns says the last one it had), and the state several times a
        second.
        """
        journal = self._web.live.journal
        said = self.headers.get("Last-Event-ID", "")
        number = int(said) if said.isdecimal() else journal.last_number()
        number = number if number <= journal.last_number() else 0  # counted by the server before this one
        yield b"retry: 1000\n\n"
        while not self._web.closing.is_set():
            for event in journal.after(number):
                number = event.number
                yield f"id: {number}\nevent: change\ndata: {json_text(event.to_dict())}\n\n".encode()
            yield b"event: state\ndata: " + self._web.state_json() + b"\n\n"
            if not journal.after(number, timeout=_TICK_S):
                self._web.closing.wait(_TICK_S if journal.closed else 0)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: standard error is for what matters."""
