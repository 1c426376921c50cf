"""What strangers can do to the page before they show a token."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.chromium import eventually
from support.http import Stream, get

from edge_effnet.live import LiveClassifier
from edge_effnet.live.web import Access, WebAddress, WebServer, front, handler
from edge_effnet.live.web import server as server_module
from edge_effnet.live.web.access import _cookie

pytestmark = pytest.mark.litert
HERE = WebAddress("127.0.0.1", 0)


@pytest.fixture
def server(live: LiveClassifier) -> Iterator[WebServer]:
    with WebServer(live, HERE, access=Access("correct-horse")) as running:
        yield running


def connect(server: WebServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=20)


def answer_to(server: WebServer, sent: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(sent)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
    return received


def threads() -> int:
    return sum(thread.name == "edge-effnet answer" for thread in threading.enumerate())


def test_slow_and_large_clients_hold_no_thread_and_not_healthz(server: WebServer) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(48 + 46):
            connection = stack.enter_context(connect(server))
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
                if number % 2:
                    connection.sendall(b"x" * 100_000)
        began = time.monotonic()
        assert get(server.server_address[1], "/healthz").status == 200
        assert time.monotonic() - began < 1
        assert threads() == 0


def test_headers_have_a_bound(server: WebServer) -> None:
    answer = answer_to(server, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_whole_request_has_a_deadline(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "REQUEST_S", 0.3)
    with connect(server) as slow, connect(server) as silent:
        began = time.monotonic()
        slow.sendall(b"GET / HT")
        assert read_all(silent) == b""
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 5


def test_the_body_of_a_request_is_never_a_second_one(server: WebServer) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    body = f"Content-Length: {len(smuggled)}\r\n\r\n".encode() + smuggled
    for sent in (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + body, smuggled + smuggled):
        assert answer_to(server, sent).count(b"HTTP/1.1 ") == 1


def test_the_newcomer_takes_the_place_of_the_greediest_hosts_oldest(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_WAITING", 4)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(server)) for _ in range(4)]
        eventually(lambda: len(server._front._visitors) == 4)
        assert get(server.server_address[1], "/healthz").status == 200
        assert waiting[0].recv(1) == b""
        waiting[3].sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in read_all(waiting[3])


def test_one_host_does_not_take_all_viewers_places(live: LiveClassifier) -> None:
    with WebServer(live, HERE, most_viewers=4) as server:
        viewers = [Stream(server.server_address[1], "/api/events") for _ in range(3)]
        eventually(lambda: server.viewers["events"] == 3)
        answer = get(server.server_address[1], "/api/events")
        assert (answer.status, answer.body) == (503, b"3 viewers of your host are here already; try again later\n")
        assert server.admit_viewer("events", "another") is None
        server.dismiss_viewer("events", "another", dropped=False)
        for viewer in viewers:
            viewer.close()


def test_answers_have_a_bound_a_host(live: LiveClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_MOST_ANSWERS_A_HOST", 1)
    with WebServer(live, HERE) as server:
        viewer = Stream(server.server_address[1], "/api/events")
        viewer.read_until(count=1, of=b"event: state\n")
        assert get(server.server_address[1], "/api/state").status == 503
        assert get(server.server_address[1], "/healthz").status == 200
        viewer.close()
        eventually(lambda: get(server.server_address[1], "/api/state").status == 200)


def test_a_fault_here_is_answered_and_said(
    live: LiveClassifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: Any) -> Any:
        raise RuntimeError("a\x1bfault")

    with WebServer(live, HERE) as server:
        monkeypatch.setattr(handler, "_frame", fault)
        assert get(server.server_address[1], "/frame.jpg").status == 500
        monkeypatch.setattr(server, "health", fault)
        assert get(server.server_address[1], "/healthz").status == 500
    assert "/frame.jpg failed: a\\x1bfault" in caplog.text


def test_a_cookie_costs_no_time() -> None:
    header = 'x="' + "\\" * 60_000 + "; c=1"
    began = time.process_time()
    assert _cookie(header, "c") == "1"
    assert time.process_time() - began < 0.05


def test_a_viewer_that_has_gone_keeps_no_place_while_the_camera_is_away(
    live: LiveClassifier, camera: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_WAIT_S", 0.05)
    with WebServer(live, HERE) as server:
        viewer = Stream(server.server_address[1], "/stream.mjpg")
        viewer.read_until(count=2, of=b"--edge-effnet-frame\r\n")
        camera.plugged = False
        eventually(lambda: live.reader.state.problem is not None)
        viewer.close()
        eventually(lambda: server.viewers["picture"] == 0)


def test_what_is_answered_at_once_fits_a_connections_buffer(server: WebServer) -> None:
    for path in ("/", "/?token=wrong", "/page.css", "/icon.svg", "/nothing", "/healthz"):
        answer = answer_to(server, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert 0 < len(answer) < 16_000


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1:2:3", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_host(address: str, host: str) -> None:
    assert front._host(address) == host
