from __future__ import annotations

import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cameras import Camera, view
from support.chromium import eventually
from support.http import Stream, get

from edge_effnet.errors import UsageError
from edge_effnet.live import LiveClassifier
from edge_effnet.live.web import Access, WebAddress, WebServer
from edge_effnet.live.web import pictures as pictures_module
from edge_effnet.live.web.pictures import Picture

pytestmark = pytest.mark.litert
TOKEN = "correct-horse"
HERE = WebAddress("127.0.0.1", 0)
PATHS = ("/", "/page.css", "/page.js", "/icon.svg", "/frame.jpg", "/api/state", "/healthz")


@pytest.fixture
def server(live: LiveClassifier) -> Iterator[WebServer]:
    with WebServer(live, HERE, most_viewers=3) as running:
        yield running


@pytest.fixture
def guarded(live: LiveClassifier) -> Iterator[WebServer]:
    with WebServer(live, HERE, access=Access(TOKEN)) as running:
        yield running


def port(server: WebServer) -> int:
    return int(server.server_address[1])


def test_every_answer_is_closed_to_other_hosts(server: WebServer) -> None:
    for path in (*PATHS, "/nothing-here"):
        answer = get(port(server), path)
        assert answer.status == (404 if path == "/nothing-here" else 200), path
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert set(re.findall(r"(?<=-src )\S+?(?=;|$)", policy)) == {"'none'", "'self'"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_what_speaks_for_the_class(server: WebServer) -> None:
    """The heat map of a frame is a JPEG of twice the network's view; asked for again, it is the same."""
    eventually(lambda: server.live.latest() is not None)
    answer = get(port(server), "/heatmap.jpg")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(answer.body)).size == (448, 448)


def test_the_page_names_no_other_host(server: WebServer) -> None:
    for path in ("/", "/page.css", "/page.js"):
        assert re.findall(rb"(?:https?:)?//[a-z0-9]", get(port(server), path).body) == []


def test_state(server: WebServer, camera: Camera) -> None:
    state = get(port(server), "/api/state").json()
    assert state["status"] == "live"
    assert state["source"] == {"name": "kitchen", "size": [320, 240], "problem": None, "reopened": 0}
    assert state["announced"]["label"] == state["top"][0]["label"] == "espresso"
    assert len(state["top"]) == 5
    assert state["frames"]["classified"] >= 3
    assert set(state["timing_ms"]) == {"wait", "decode", "preprocess", "inference", "postprocess", "decide"}
    assert state["events"][0]["label"] == "espresso"
    assert (state["model"]["file"], state["model"]["variant"], state["model"]["classes"]) == (
        "lite0-int8.tflite",
        "lite0",
        1000,
    )
    assert state["no_frames_since"] is None
    assert camera.opened == 1


def test_state_and_health_say_since_when_there_are_no_frames(live: LiveClassifier, camera: Camera) -> None:
    with WebServer(live, HERE, stale_s=0.2) as server:
        eventually(lambda: get(port(server), "/healthz").status == 200)
        camera.plugged = False
        eventually(lambda: get(port(server), "/healthz").status == 503)
        health = get(port(server), "/healthz").json()
        assert health["status"] == "no frames"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", health["no_frames_since"])
        eventually(lambda: live.reader.state.problem == "camera can't be opened")
        state = eventually(lambda: (found := get(port(server), "/api/state").json())["status"] == "stale" and found)
        assert state["no_frames_since"]
        assert state["source"]["problem"] == "camera can't be opened"
        camera.plugged = True
        eventually(lambda: get(port(server), "/healthz").json() == {"status": "ok", "no_frames_since": None})


def parts(data: bytes) -> list[bytes]:
    """The JPEGs of a multipart stream."""
    head, _, body = data.partition(b"\r\n\r\n")
    boundary = re.search(rb"boundary=(\S+)", head)
    assert boundary is not None
    pieces = body.split(b"--" + boundary[1] + b"\r\n")[1:-1]
    return [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces]


def test_the_live_picture(server: WebServer, camera: Camera) -> None:
    viewer = Stream(port(server), "/stream.mjpg")
    first = parts(viewer.read_until(count=3, of=b"--edge-effnet-frame\r\n"))[0]
    shown = np.asarray(Image.open(io.BytesIO(first)), np.float32)
    assert shown.shape == (240, 320, 3)
    assert np.abs(shown - view("coffee")).mean() < 8, "the colours are the camera's: swapped ones are 50 away"
    camera.scene = "rocket"
    eventually(
        lambda: (
            np.abs(
                np.asarray(Image.open(io.BytesIO(get(port(server), "/frame.jpg").body)), np.float32) - view("rocket")
            ).mean()
            < 8
        )
    )
    viewer.close()


def test_a_frame_is_encoded_once_for_all_and_only_when_someone_watches(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Any] = []
    real = pictures_module.encode_jpeg
    monkeypatch.setattr(
        pictures_module, "encode_jpeg", lambda frame, widest: encoded.append(frame) or real(frame, widest=widest)
    )
    seen = server.live.reader.state.received
    eventually(lambda: server.live.reader.state.received > seen + 5)
    assert encoded == []
    barrier = threading.Barrier(3)
    found: list[list[Picture | None]] = [[], [], []]

    def watch(pictures: list[Picture | None]) -> None:
        for _ in range(5):
            pictures.append(server.pictures.newer(pictures[-1] if pictures else None, 60))
            barrier.wait(60)

    watchers = [threading.Thread(target=watch, args=(pictures,)) for pictures in found]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(60)
    assert found[0] == found[1] == found[2], "all get the same pictures"
    assert len(set(map(id, found[0]))) == len(encoded) == 5
    viewers = [Stream(port(server), "/stream.mjpg") for _ in range(3)]
    for viewer in viewers:
        viewer.read_until(count=3, of=b"--edge-effnet-frame\r\n")
        viewer.close()
    eventually(lambda: server.viewers["picture"] == 0)
    count = len(encoded)
    seen = server.live.reader.state.received
    eventually(lambda: server.live.reader.state.received > seen + 20)
    assert len(encoded) == count


def test_wide_frames_are_made_smaller() -> None:
    from edge_effnet.live.frames import taken_now

    frame = taken_now(np.zeros((1080, 1920, 3), np.uint8))
    assert Image.open(io.BytesIO(pictures_module.encode_jpeg(frame, widest=960))).size == (960, 540)
    assert Image.open(io.BytesIO(pictures_module.encode_jpeg(frame, widest=700))).size == (640, 360)
    assert Image.open(io.BytesIO(pictures_module.encode_jpeg(frame, widest=1920))).size == (1920, 1080)


def messages(data: bytes, kind: str) -> list[dict[str, Any]]:
    text = data.partition(b"\r\n\r\n")[2].decode()
    return [json.loads(match) for match in re.findall(rf"event: {kind}\ndata: (.*)\n\n", text)]


def test_events_as_they_happen_and_the_state_in_between(server: WebServer, camera: Camera) -> None:
    viewer = Stream(port(server), "/api/events")
    viewer.read_until(count=2, of=b"event: state\n")
    camera.scene = "rocket"
    data = viewer.read_until(count=1, of=b"event: change\n")
    data = viewer.read_until(count=data.count(b"event: state\n") + 1, of=b"event: state\n")
    assert [event["label"] for event in messages(data, "change")] == ["missile"]
    assert messages(data, "state")[0]["announced"]["label"] == "espresso"
    assert b"id: 2\nevent: change\n" in data
    viewer.close()


@pytest.mark.parametrize(("last", "numbers"), [("0", [1]), ("1", []), ("999", [1]), ("x", [])])
def test_who_returns_gets_what_was_missed(server: WebServer, last: str, numbers: list[int]) -> None:
    """999: a number of the server before a restart."""
    viewer = Stream(port(server), "/api/events", {"Last-Event-ID": last})
    data = viewer.read_until(count=2, of=b"event: state\n")
    assert [event["number"] for event in messages(data, "change")] == numbers
    viewer.close()


def test_a_viewer_that_stops_reading_is_dropped_and_slows_nobody(live: LiveClassifier) -> None:
    with WebServer(live, HERE, send_timeout_s=2.0) as server:
        stalled = Stream(port(server), "/stream.mjpg")
        stalled.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reading = Stream(port(server), "/stream.mjpg")
        seen = live.progress.classified
        while server.dropped_viewers == 0:
            reading.read_until(
                count=reading.received.count(b"--edge-effnet-frame\r\n") + 1, of=b"--edge-effnet-frame\r\n"
            )
            reading.received = reading.received[-100:]
        assert server.dropped_viewers == 1
        assert live.progress.classified > seen
        eventually(lambda: server.viewers["picture"] == 1)
        assert get(port(server), "/api/state").json()["viewers"]["dropped"] == 1
        reading.close()
        stalled.close()


def test_there_are_no_more_viewers_than_wanted(server: WebServer) -> None:
    viewers = [Stream(port(server), "/api/events") for _ in range(3)]
    eventually(lambda: server.viewers["events"] == 3)
    answer = get(port(server), "/api/events")
    assert (answer.status, answer.body) == (503, b"3 viewers are here already; try again later\n")
    assert get(port(server), "/api/state").status == 200
    viewers.pop().close()
    eventually(lambda: server.viewers["events"] == 2)
    viewers.append(Stream(port(server), "/api/events"))
    viewers[-1].read_until(count=1, of=b"event: state\n")
    for viewer in viewers:
        viewer.close()


def test_idle_connections_do_not_use_up_the_threads(server: WebServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", port(server))) for _ in range(80)]
    assert server.live.progress.classified
    for connection in idle:
        connection.close()
    assert eventually(lambda: _status_or_none(port(server)) == 200)


def _status_or_none(number: int) -> int | None:
    try:
        return get(number, "/healthz").status
    except OSError:
        return None


def test_close_ends_the_streams(live: LiveClassifier) -> None:
    server = WebServer(live, HERE).start()
    viewers = [Stream(port(server), path) for path in ("/api/events", "/stream.mjpg")]
    eventually(lambda: server.viewers == {"picture": 1, "events": 1})
    server.close()
    for viewer in viewers:
        viewer.read_to_end()
        viewer.close()
    again = WebServer(live, WebAddress("127.0.0.1", port(server))).start()  # the port is free at once
    assert get(port(again), "/healthz").status == 200
    again.close()


def test_an_address_that_is_taken(server: WebServer, live: LiveClassifier) -> None:
    with pytest.raises(UsageError, match=r"can't listen on 127\.0\.0\.1:\d+: Address already in use"):
        WebServer(live, WebAddress("127.0.0.1", port(server)))
    with pytest.raises(UsageError, match=r"can't listen on 192\.0\.2\.1:0: "):
        WebServer(live, WebAddress("192.0.2.1", 0))


def test_a_foreign_name_is_refused(server: WebServer) -> None:
    for path in PATHS:
        answer = get(port(server), path, Host="evil.example")
        assert answer.status == 421, path
        assert b"not known here" in answer.body


def test_only_get_and_head(server: WebServer) -> None:
    assert get(port(server), "/", method="PUT").status == 501
    assert get(port(server), "/", method="POST").status == 405
    head = get(port(server), "/api/state", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert get(port(server), "/stream.mjpg", method="HEAD").status == 200
    assert get(port(server), "/../../etc/passwd").status == 404


def test_without_the_token_nothing_is_shown(guarded: WebServer) -> None:
    for path in ("/api/state", "/api/events", "/stream.mjpg", "/frame.jpg", "/page.js", "/nothing-here"):
        answer = get(port(guarded), path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert b"espresso" not in answer.body
    gate = get(port(guarded), "/")
    assert gate.status == 401
    assert b"Token" in gate.body
    assert b"espresso" not in gate.body
    assert get(port(guarded), "/healthz").status == 200
    assert b"That wasn't it." in get(port(guarded), "/?token=wrong-wrong").body


def test_the_token_opens_everything(guarded: WebServer) -> None:
    assert get(port(guarded), f"/api/state?token={TOKEN}").status == 200
    assert get(port(guarded), "/api/state", Authorization=f"Bearer {TOKEN}").status == 200
    answer = get(port(guarded), f"/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    for path in ("/", "/page.js", "/api/state", "/frame.jpg"):
        assert get(port(guarded), path, Cookie=cookie.partition(";")[0]).status == 200
    viewer = Stream(port(guarded), "/api/events", {"Cookie": cookie.partition(";")[0]})
    viewer.read_until(count=1, of=b"event: state\n")
    viewer.close()
