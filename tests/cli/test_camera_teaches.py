"""The command itself: kept frames, a taught camera, and what a kill leaves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cameras import view
from support.chromium import eventually
from support.http import get

from edge_effnet import Classifier
from edge_effnet.live.keeping import facts_of, pictures_in

from .conftest import Run, is_one_error
from .test_camera import free_port

pytestmark = pytest.mark.litert


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Coffee and rocket, each from twelve sides."""
    folder = tmp_path / "album"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(24):
        top, left = random.integers(0, 40, 2)
        image = view("coffee" if number < 12 else "rocket")[top : top + 200, left : left + 280]
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{number:02}.png")
    return folder


class Taught:
    """`edge-effnet camera --learn` on the album, in a process of its own."""

    def __init__(self, album: Path, desk: Path, *words: str) -> None:
        self.port = free_port()
        given = ["--source", album, "--loop", "--fps", "20", "--web", f"127.0.0.1:{self.port}", "--learn", desk, *words]
        command = [sys.executable, "-m", "edge_effnet", "camera", "--threads", "1", *map(str, given)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert said.startswith("edge-effnet: page: "), said

    def post(self, action: str, **said: Any) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/api/teach/{action}", json.dumps(said), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, found
        return dict(found)

    @property
    def document(self) -> dict[str, Any]:
        return dict(get(self.port, "/api/teach").json())

    @property
    def state(self) -> dict[str, Any]:
        return dict(get(self.port, "/api/state").json())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)


@pytest.fixture
def taught(album: Path, tmp_path: Path) -> Iterator[Callable[..., Taught]]:
    running: list[Taught] = []

    def start(*words: str) -> Taught:
        running.append(Taught(album, tmp_path / "desk", *words))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.communicate()


def photos(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "desk" / "photos").rglob("*.jpg"))


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_taught_killed_and_taught_on(taught: Callable[..., Taught], tmp_path: Path) -> None:
    camera = taught()
    for label, name in (("espresso", "my cup"), ("missile", "my rocket")):
        found = camera.post("class", name=name)["classes"]
        own = next(one["id"] for one in found if one["name"] == name)
        for number in range(5):
            eventually(lambda label=label: (camera.state["announced"] or {}).get("label") == label, what=label)
            camera.post("collect", **{"class": own, "burst": f"{name} {number}"})
    before = photos(tmp_path)
    assert len(before) == 10
    camera.post("learn")
    camera.kill()  # in the midst of it
    assert photos(tmp_path) == before
    camera = taught()
    assert camera.document["in_use"]["file"] is None
    camera.post("learn")
    eventually(lambda: camera.document["lesson"]["phase"] == "done", what="learned")
    name = camera.document["lesson"]["result"]["file"]
    camera.post("use", network=name)
    eventually(lambda: (camera.state["announced"] or {}).get("label") in ("my cup", "my rocket"))
    camera.kill()
    camera = taught("--allow", "my cup")
    assert camera.state["model"]["file"] == name, "what was in use is in use"
    assert camera.state["allowed"] == 1
    assert camera.document["in_use"]["labels"] == ["my cup", "my rocket"]
    assert photos(tmp_path) == before
    camera.post("use", network=None)
    eventually(lambda: camera.state["model"]["file"] == "lite0-int8.tflite")
    camera.process.send_signal(signal.SIGTERM)
    assert camera.process.wait(60) == 0
    with Classifier(tmp_path / "desk" / "networks" / name) as classifier:
        assert classifier.labels == ("my cup", "my rocket")


def test_an_inbox_alone(run: Run, album: Path, tmp_path: Path) -> None:
    outcome = run("camera", "--source", album, "--agree", "3/5", "--inbox", tmp_path / "box")
    assert (outcome.status, outcome.err) == (0, "")
    kept = pictures_in(tmp_path / "box")
    assert [facts_of(path)["why"] for path in kept][:1] == ["change"]
    assert facts_of(kept[0])["announced"] == "espresso"
    assert facts_of(kept[0])["model"] == "lite0-int8.tflite"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learn", "desk"], "--learn has no effect without --web HOST:PORT"),
        (
            ["--learn", "desk", "--web", "0.0.0.0:0", "--web-open"],
            "--learn lets the page change things, and 0.0.0.0 can be reached from other machines",
        ),
        (["--source", ".", "--inbox", "."], "--inbox . lies in the folder of photos that is watched"),
        (["--source", ".", "--web", "127.0.0.1:0", "--learn", "a/b"], "--learn a/b lies in the folder"),
        (["--inbox", "/dev/null/x", "--source", "album"], "can't use the folder /dev/null/x"),
    ],
)
def test_what_the_user_can_mend(
    run: Run, album: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(album.parent)
    outcome = run("camera", *words)
    assert is_one_error(outcome, message), outcome
    assert os.listdir(album.parent) == ["album"]
