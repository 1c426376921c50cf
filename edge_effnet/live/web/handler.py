"""Which path is what: the answers, and the two streams."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from edge_effnet.errors import ModelFileError, first_line
from edge_effnet.live.web import files, teach
from edge_effnet.live.web.answers import Answer, Stream, head, refusal
from edge_effnet.live.web.requests import Request
from edge_effnet.text import json_text, printable

if TYPE_CHECKING:
    from edge_effnet.live.web.server import WebServer

_LOG = logging.getLogger("edge_effnet.live")
_BOUNDARY = "edge-effnet-frame"
_TICK_S = 0.4
_WAIT_S = 1.0
_SEND_BUFFER = 1 << 17
_BEARER = {"WWW-Authenticate": "Bearer"}


def answer_at_once(web: WebServer, request: Request) -> Answer | None:
    """What everybody gets without a thread: /healthz, and the refusal of strangers. None for all else."""
    if not web.access.knows_host(request.headers.get("Host")):
        return refusal(421, "this host name is not known here; use the machine's address, or name it with --web-name")
    if request.path == "/healthz":
        status, document = web.health()
        return Answer(document, "application/json", status)
    if not web.access.admits(request.headers, request.token, cookie=web.cookie):
        return _ask_for_token(request)
    return None


def answer(web: WebServer, request: Request) -> Answer | Stream:
    """What those get who may see it."""
    if request.path == "/" and request.token is not None:
        return _to_the_page(web)
    if request.method == "POST":
        return teach.answer_post(web, request)
    if web.teacher is not None and (taught := teach.answer_get(web.teacher, request.path)) is not None:
        return taught
    route = _routes(web, request).get(request.path)
    return refusal(404, "there is no such page") if route is None else route()


def serve(web: WebServer, connection: socket.socket, host: str, request: Request) -> None:
    """Answers in full; the caller closes the connection. A viewer that takes nothing for too long is dropped."""
    connection.settimeout(web.send_timeout_s)  # for each piece as a whole
    try:
        given = answer(web, request)
    except Exception as error:  # said here and there: a request without an answer helps nobody
        _LOG.warning("the page's %s failed: %s", printable(request.path, most=40), first_line(error))
        given = refusal(500, "something went wrong here")
    if isinstance(given, Stream):
        _stream(web, connection, host, request, given)
    else:
        with contextlib.suppress(OSError):
            connection.sendall(given.to_bytes(request.method))


def _routes(web: WebServer, request: Request) -> Mapping[str, Callable[[], Answer | Stream]]:
    return {
        **{path: lambda path=path: _file(path) for path in files.PAGE},  # type: ignore[misc]
        "/api/state": lambda: Answer(web.state_json(), "application/json"),
        "/api/events": lambda: Stream("events", "text/event-stream", _events(web, request)),
        "/stream.mjpg": lambda: Stream("picture", f"multipart/x-mixed-replace; boundary={_BOUNDARY}", _pictures(web)),
        "/frame.jpg": lambda: _frame(web),
        "/heatmap.jpg": lambda: _heatmap(web),
    }


def _file(path: str) -> Answer:
    name, kind = files.PAGE[path]
    return Answer(files.page_file(name), kind)


def _ask_for_token(request: Request) -> Answer:
    if request.path == "/":
        wrong = b"That wasn't it." if request.token is not None else b""
        return Answer(files.page_file("token.html").replace(b"<!--wrong-->", wrong), files.HTML, 401, _BEARER)
    if request.path in ("/page.css", "/icon.svg"):
        return _file(request.path)
    return refusal(401, "this needs the token: ?token=…, or the header Authorization: Bearer …", _BEARER)


def _to_the_page(web: WebServer) -> Answer:
    """With the cookie instead of the token, which then stands in no address bar and no history."""
    cookie = f"{web.cookie}={web.access.cookie_value()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"
    return Answer(b"", files.HTML, 303, {"Location": "/", "Set-Cookie": cookie})


def _frame(web: WebServer) -> Answer:
    picture = web.pictures.current()
    return refusal(503, "there was no frame yet") if picture is None else Answer(picture.jpeg, "image/jpeg")


def _heatmap(web: WebServer) -> Answer:
    try:
        jpeg = web.heatmaps.current()
    except ModelFileError as error:
        return refusal(404, first_line(error))
    return refusal(503, "no frame was classified yet") if jpeg is None else Answer(jpeg, "image/jpeg")


def _stream(web: WebServer, connection: socket.socket, host: str, request: Request, stream: Stream) -> None:
    """Pieces until the viewer goes, the server closes, or the viewer takes nothing for too long."""
    full = web.admit_viewer(stream.viewers, host)
    dropped = False
    try:
        if full is not None:
            connection.sendall(refusal(503, full, {"Retry-After": "10"}).to_bytes(request.method))
            return
        # What waits in a larger buffer is old when it arrives; and events are small, and wanted now.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(200, {"Content-Type": stream.kind}))
        for piece in () if request.method == "HEAD" else stream.pieces:
            if piece:
                connection.sendall(piece)
            elif _has_left(connection):
                return
    except TimeoutError:
        dropped = True
    except OSError:
        pass  # the viewer has gone
    finally:
        if full is None:
            web.dismiss_viewer(stream.viewers, host, dropped=dropped)


def _has_left(connection: socket.socket) -> bool:
    """Whether the other end is closed; what it may have sent is no matter."""
    timeout = connection.gettimeout()
    connection.setblocking(False)
    try:
        return connection.recv(1 << 12) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(timeout)


def _pictures(web: WebServer) -> Iterator[bytes]:
    """Each part ends with the next boundary, so that a browser shows it at once."""
    yield f"--{_BOUNDARY}\r\n".encode()
    picture = None
    while not web.closing.is_set():
        newer = web.pictures.newer(picture, _WAIT_S)
        if newer is None:
            yield b""
            continue
        picture = newer
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n".encode()
        yield head + picture.jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()


def _events(web: WebServer, request: Request) -> Iterator[bytes]:
    """Each event once, by number (a browser that returns says the last one it had), and the state several times a
    second.
    """
    journal = web.live.journal
    number = _last_seen(request.headers.get("Last-Event-Id", ""), journal.last_number())
    yield b"retry: 1000\n\n"
    while not web.closing.is_set():
        for event in journal.after(number):
            number = event.number
            yield f"id: {number}\nevent: change\ndata: {json_text(event.to_dict())}\n\n".encode()
        yield b"event: state\ndata: " + web.state_json() + b"\n\n"
        if not journal.after(number, timeout=_TICK_S):
            web.closing.wait(_TICK_S if journal.closed else 0)


def _last_seen(said: str, newest: int) -> int:
    """Number of the last event that a viewer has: all of them when it was counted by the server before this one."""
    number = int(said) if said.isascii() and said.isdecimal() and len(said) <= 18 else newest
    return number if number <= newest else 0
