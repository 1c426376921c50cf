"""What a page may change, and who may."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.http import Answer, get

from edge_effnet.live.teaching import Teacher
from edge_effnet.live.web import Access, WebAddress, WebServer
from edge_effnet.live.web.access import is_loopback_host
from edge_effnet.live.web.teach import why_not

pytestmark = pytest.mark.litert
TOKEN = "correct-horse"


@pytest.fixture
def server(teacher: Teacher) -> Iterator[WebServer]:
    with WebServer(teacher._live, WebAddress("127.0.0.1", 0), teacher=teacher) as running:
        yield running


@pytest.fixture
def guarded(teacher: Teacher) -> Iterator[WebServer]:
    with WebServer(teacher._live, WebAddress("127.0.0.1", 0), teacher=teacher, access=Access(TOKEN)) as running:
        yield running


def port(server: WebServer) -> int:
    return int(server.server_address[1])


def post(server: WebServer, path: str, said: Any = None, **headers: str) -> Answer:
    body = said if isinstance(said, bytes) else json.dumps({} if said is None else said).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=60)
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("POST", path, body, given)
    answer = connection.getresponse()
    found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    connection.close()
    return found


def test_a_day_of_teaching(server: WebServer) -> None:
    assert get(port(server), "/api/state").json()["teach"] is True
    (waiting,) = get(port(server), "/api/teach").json()["inbox"]
    picture = get(port(server), f"/inbox/{waiting['id']}.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(picture.body)).size == (320, 240)
    made = post(server, "/api/teach/class", {"name": "my cup"})
    assert (made.status, made.json()["said"]) == (200, "class my cup")
    (cup,) = made.json()["classes"]
    named = post(server, "/api/teach/assign", {"pictures": [waiting["id"]], "class": cup["id"]}).json()
    assert (named["said"], named["waiting"], named["classes"][0]["photos"]) == ("1 picture named", 0, 1)
    small = get(port(server), f"/class/{cup['id']}.jpg")
    assert max(Image.open(io.BytesIO(small.body)).size) == 200
    assert post(server, "/api/teach/undo").json()["said"] == "undone: 1 picture to my cup"
    assert get(port(server), f"/inbox/{waiting['id']}.jpg").status == 200


def test_what_is_not_there_or_can_not_be(server: WebServer, tmp_path: Path) -> None:
    for path in ("/inbox/x.jpg", "/inbox/..%2f..%2fx.jpg", "/class/x.jpg", "/inbox/../x.jpg", "/class/.jpg"):
        assert get(port(server), path).status == 404, path
    assert post(server, "/api/teach/format-disk").status == 404
    assert post(server, "/api/state").status == 405
    for body, status in ((b"{", 400), (b"[]", 400), (b'"x"', 400), (b"\xff", 400), (b"x" * 8193, 413)):
        assert post(server, "/api/teach/undo", body).status == status
    refused = post(server, "/api/teach/undo")
    assert (refused.status, refused.json()) == (409, {"error": "there is nothing to undo"})
    for name in ("", "a\x00b", "x" * 61, {"a": 1}):
        assert post(server, "/api/teach/class", {"name": name}).status == 409
    assert not list((tmp_path / "desk" / "photos").iterdir())


def test_a_class_whose_photo_is_none(server: WebServer, tmp_path: Path) -> None:
    for content in (b"torn", b""):
        folder = tmp_path / "desk" / "photos" / "mine"
        folder.mkdir(exist_ok=True)
        (folder / "a.jpg").write_bytes(content)
        (mine,) = get(port(server), "/api/teach").json()["classes"]
        assert get(port(server), f"/class/{mine['id']}.jpg").status == 404


def test_without_the_token_nothing_is_seen_or_changed(guarded: WebServer) -> None:
    for path in ("/api/teach", "/inbox/x.jpg", "/teach.js"):
        assert get(port(guarded), path).status == 401
    assert post(guarded, "/api/teach/class", {"name": "cup"}).status == 401
    cookie = get(port(guarded), f"/?token={TOKEN}").headers["set-cookie"].partition(";")[0]
    assert post(guarded, "/api/teach/class", {"name": "cup"}, Cookie=cookie).status == 200
    assert post(guarded, "/api/teach/class", {"name": "can"}, Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Host": "pi.local"},
        {"Host": "192.168.1.7:8080"},
    ],
    ids=str,
)
def test_a_foreign_page_changes_nothing(server: WebServer, headers: dict[str, str]) -> None:
    own = {"Host": f"127.0.0.1:{port(server)}", "Origin": f"http://127.0.0.1:{port(server)}"}
    fine = {**own, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    assert why_not(server, fine) is None
    assert why_not(server, {**fine, **headers}) is not None


def test_a_foreign_page_is_answered_403(server: WebServer) -> None:
    answer = post(server, "/api/teach/class", {"name": "cup"}, Origin="http://evil.example")
    assert (answer.status, answer.body) == (403, b"that page isn't this camera's\n")
    assert "access-control-allow-origin" not in answer.headers


def test_an_open_page_changes_nothing(teacher: Teacher) -> None:
    with WebServer(teacher._live, WebAddress("0.0.0.0", 0), teacher=teacher) as server:
        assert post(server, "/api/teach/class", {"name": "cup"}).status == 403
        assert teacher.shelf.classes() == []


def test_a_camera_that_is_not_taught(teacher: Teacher) -> None:
    with WebServer(teacher._live, WebAddress("127.0.0.1", 0)) as server:
        assert get(port(server), "/api/state").json()["teach"] is False
        assert get(port(server), "/api/teach").status == 404
        answer = post(server, "/api/teach/class", {"name": "cup"})
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:80", True),
        ("127.8.9.1", True),
        ("[::1]:8080", True),
        ("LocalHost:1", True),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("", False),
        ("127.0.0.1:80:80", False),
    ],
)
def test_hosts_that_this_machine_alone_reaches(host: str, own: bool) -> None:
    assert is_loopback_host(host) == own
