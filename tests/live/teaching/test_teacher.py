from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.cameras import PHOTOS, Camera
from support.chromium import eventually
from support.lessons import LedLesson

from edge_effnet import Classifier
from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.teaching import Teacher
from edge_effnet.live.teaching.judged import judge_before
from edge_effnet.live.teaching.networks import Networks
from edge_effnet.live.teaching.shelf import Shelf

pytestmark = pytest.mark.litert


def class_id(teacher: Teacher, name: str) -> str:
    return next(one["id"] for one in teacher.document()["classes"] if one["name"] == name)


def phase(teacher: Teacher) -> str:
    return str(teacher.document()["lesson"]["phase"])


def test_from_a_live_picture_to_a_network_in_use_and_back(
    teacher: Teacher, camera: Camera, lesson: LedLesson, bundled: Classifier
) -> None:
    live = teacher._live
    document = teacher.document()
    assert (document["classes"], document["waiting"], document["undo"]) == ([], 1, None)
    assert document["inbox"][0]["why"] == "change"
    assert document["inbox"][0]["label"] == "espresso"
    teacher.actions["class"]({"name": "cat"})
    cup = class_id(teacher, "cat")
    for _ in range(3):
        frame = live.reader.newest()
        teacher.actions["collect"]({"class": cup, "burst": "b"})
        eventually(lambda frame=frame: live.reader.newest() is not frame)
    (found,) = teacher.document()["classes"]
    assert (found["name"], found["photos"]) == ("cat", 3)
    assert Image.open(teacher.shelf.classes()[0].photos[0]).size == (320, 240)
    assert teacher.actions["learn"]({}) == "learning"
    eventually(lambda: teacher.document()["lesson"]["share"] == 0.5)
    with pytest.raises(UsageError, match="learning already"):
        teacher.actions["learn"]({})
    lesson.go.set()
    eventually(lambda: phase(teacher) == "done")
    assert lesson.seen["photos"] == teacher.shelf.photos
    result = teacher.document()["lesson"]["result"]
    assert (result["file"], result["accuracy"], result["before"]) == ("learned-0001.tflite", 0.93, None)
    assert (result["wants"], result["left_out"]) == ("dog", ["one.jpg: torn"])
    assert result["doubtful"] == [{"label": "cat", "looks_like": "dog", "photo": "a.jpg"}]
    seen = live.progress.classified
    assert teacher.actions["use"]({"network": result["file"]}) == "in use"
    eventually(lambda: live.progress.classified > seen + 3)
    assert live.classifier.labels == ("cat", "dog", "Köln")
    document = teacher.document()
    assert document["in_use"] == {"file": "learned-0001.tflite", "accuracy": 0.93, "labels": ["cat", "dog", "Köln"]}
    assert (document["before"]["file"], document["lesson"]["phase"]) == (None, "idle")
    assert teacher.networks.in_use() == "learned-0001.tflite"
    assert live.progress.failed == 0
    learned = live.classifier
    teacher.actions["use"]({"network": document["before"]["file"]})
    assert live.classifier.labels == bundled.labels
    with pytest.raises(Exception, match="closed"):
        learned.logits(frame.image)  # type: ignore[union-attr]
    bundled.logits(frame.image)  # type: ignore[union-attr]  # the one that it began with isn't ours to close
    document = teacher.document()
    assert (document["in_use"]["file"], document["before"]["file"]) == (None, "learned-0001.tflite")
    assert teacher.networks.in_use() is None
    assert camera.opened == 1, "the camera went on"


def test_one_frame_gives_one_photo_of_a_burst(teacher: Teacher, camera: Camera) -> None:
    teacher.actions["class"]({"name": "cup"})
    camera.plugged = False
    eventually(lambda: teacher._live.reader.state.problem)
    cup = class_id(teacher, "cup")
    assert [teacher.actions["collect"]({"class": cup, "burst": "b"}) for _ in range(3)] == ["cup: 1"] * 3
    assert teacher.actions["collect"]({"class": cup, "burst": "c"}) == "cup: 2"


def test_what_goes_wrong_while_learning_is_said_and_changes_nothing(teacher: Teacher, lesson: LedLesson) -> None:
    for error, said in ((UsageError("two classes are needed"), "two classes are needed"), (RuntimeError("oh"), "oh")):
        lesson.error = error
        lesson.go.set()
        teacher.actions["learn"]({})
        eventually(lambda: phase(teacher) == "failed")
        assert teacher.document()["lesson"]["problem"] == said
    lesson.error = None
    lesson.go.clear()
    teacher.actions["learn"]({})
    eventually(lambda: phase(teacher) == "learning")
    teacher.actions["stop"]({})
    eventually(lambda: phase(teacher) == "stopped")
    teacher.actions["keep"]({})
    assert phase(teacher) == "idle"
    assert teacher.networks.names() == []


def test_a_file_that_can_not_be_opened_is_not_taken(teacher: Teacher) -> None:
    broken = teacher.networks.next_path(".tflite")
    broken.write_bytes(b"no network")
    before = teacher._live.classifier
    with pytest.raises(Exception, match="learned-0001"):
        teacher.actions["use"]({"network": broken.name})
    assert teacher._live.classifier is before
    assert teacher.networks.in_use() is None
    for name in ("../x", 7, "learned-0002.tflite"):
        with pytest.raises(UsageError, match="no such network"):
            teacher.actions["use"]({"network": name})


@pytest.mark.parametrize("pictures", [None, [], "x", ["x"] * 121])
def test_pictures_that_are_not_named(teacher: Teacher, pictures: Any) -> None:
    with pytest.raises(UsageError, match="no pictures are named"):
        teacher.actions["dismiss"]({"pictures": pictures})


def test_how_well_the_one_in_use_does(bundled: Classifier, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, inbox=tmp_path / "inbox")
    cup, rocket = shelf.add_class("espresso"), shelf.add_class("rocket")
    (cup.folder / "a.jpg").write_bytes((PHOTOS / "coffee.jpg").read_bytes())
    (rocket.folder / "a.jpg").write_bytes((PHOTOS / "rocket.jpg").read_bytes())
    (rocket.folder / "b.jpg").write_bytes(b"torn")
    shares: list[float] = []
    found = judge_before(bundled, shelf.classes(), shares.append)
    assert (found.right, found.photos) == (0.5, 2), "a missile is no rocket to it"
    assert shares[0] == 0
    assert judge_before(bundled, [one for one in shelf.classes() if one.name == "rocket"]).right is None


def test_a_full_disk(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    teacher.actions["class"]({"name": "cup"})
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match="of the disk are free"):
        teacher.actions["collect"]({"class": class_id(teacher, "cup")})


_SWAPPER = """
    import itertools, sys
    from pathlib import Path
    from edge_effnet.live.teaching.networks import Networks
    networks = Networks(Path(sys.argv[1]))
    print("ready", flush=True)
    for name in itertools.cycle([None, "learned-0001.tflite", "learned-0002.tflite"]):
        networks.use(name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_killed_while_swapping_the_old_or_the_new_one_is_in_use(
    exported: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    networks = Networks(tmp_path)
    for _ in range(2):
        networks.next_path(".tflite").write_bytes(exported["int8", "tflite"].read_bytes())
    for attempt in range(3):
        words = [sys.executable, "-c", textwrap.dedent(_SWAPPER), str(tmp_path)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ})
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.03 + 0.05 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        said = json.loads((tmp_path / "in-use.json").read_text())["file"]
        assert networks.in_use() == said
        with Classifier(None if said is None else networks.path(said), threads=1):
            pass
