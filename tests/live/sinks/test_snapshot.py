from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cameras import Camera, view
from support.chromium import eventually

from edge_effnet import Classifier
from edge_effnet.errors import OutputError
from edge_effnet.live import LiveClassifier
from edge_effnet.live.delivery import MOST_PICTURES, SinkRunner
from edge_effnet.live.events import Event
from edge_effnet.live.keeping import PICTURE_NAME, facts_of, pictures_in, remove_picture, save_picture
from edge_effnet.live.sinks import SnapshotSink

EVENT = Event(1, "cat", 1, 0.5, None, 1_700_000_000.25, 1.5, 7, b"JPEG")


@pytest.mark.litert
def test_the_picture_of_each_event(bundled: Classifier, tmp_path: Path) -> None:
    camera = Camera("coffee")
    with LiveClassifier(bundled, camera.opener(), sinks=[SnapshotSink(tmp_path / "new" / "shots")]) as live:
        eventually(lambda: live.journal.last_number() == 1)
        camera.scene = "rocket"
        eventually(lambda: live.journal.last_number() == 2)
        events = live.journal.after(0)
    assert [event.picture for event in events] == [None, None], "what is kept for listeners has no pictures"
    shots = pictures_in(tmp_path / "new" / "shots")
    assert [facts_of(shot) for shot in shots] == [event.to_dict() for event in events]
    for shot, scene in zip(shots, ("coffee", "rocket"), strict=True):
        assert PICTURE_NAME.fullmatch(shot.name)
        shown = np.asarray(Image.open(io.BytesIO(shot.read_bytes())), np.float32)
        assert np.abs(shown - view(scene)).mean() < 6


def test_two_events_of_one_moment_and_what_a_cut_left(tmp_path: Path) -> None:
    sink = SnapshotSink(tmp_path)
    sink.send(EVENT)
    sink.send(replace(EVENT, number=2))
    assert [path.name for path in pictures_in(tmp_path)] == [
        "20231114T221320.250Z-0.jpg",
        "20231114T221320.250Z-1.jpg",
    ]
    pictures_in(tmp_path)[0].unlink()  # as if the power had gone between document and picture
    (tmp_path / "own.json").write_text("{}")
    SnapshotSink(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20231114T221320.250Z-1.jpg",
        "20231114T221320.250Z-1.json",
        "own.json",
    ]
    remove_picture(pictures_in(tmp_path)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["own.json"]


def test_a_full_disk_loses_the_picture_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=200 * 1024 * 1024 + 3))
    with pytest.raises(OutputError, match="200 MB of the disk are free; 200 are left to others"):
        SnapshotSink(tmp_path).send(EVENT)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_can_not_be_written_leaves_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.live import keeping

    real = keeping.write_atomically

    def write(path: Path, data: bytes) -> None:
        if path.suffix == ".jpg":
            raise OutputError("no")
        real(path, data)

    monkeypatch.setattr(keeping, "write_atomically", write)
    with pytest.raises(OutputError, match="no"):
        save_picture(tmp_path, b"JPEG", {}, timestamp=1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't use the folder"):
        SnapshotSink(tmp_path / "file")


def test_an_event_without_a_picture_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="came without a picture"):
        SnapshotSink(tmp_path).send(EVENT.bare)


def test_pictures_that_wait_are_few() -> None:
    import threading

    class Stuck:
        name, wants_pictures = "stuck", True

        def __init__(self) -> None:
            self.go = threading.Event()
            self.seen: list[Event] = []

        def send(self, event: Event) -> None:
            self.go.wait(60)
            self.seen.append(event)

        def close(self) -> None:
            pass

    sink = Stuck()
    runner = SinkRunner(sink)
    for number in range(MOST_PICTURES + 10):
        runner.put(replace(EVENT, number=number))
    sink.go.set()
    runner.close()
    assert [event.picture is not None for event in sink.seen] == [True] * MOST_PICTURES + [False] * 10


def test_facts_that_can_not_be_read(tmp_path: Path) -> None:
    for content in (b"[]", b"{", b"x" * 100_000):
        (tmp_path / "a.json").write_bytes(content)
        assert facts_of(tmp_path / "a.jpg") == {}
    assert json.dumps(facts_of(tmp_path / "none.jpg")) == "{}"
