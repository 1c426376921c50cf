from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import Camera
from support.chromium import eventually
from support.lessons import LedLesson

from edge_effnet import Classifier
from edge_effnet.live import LiveClassifier
from edge_effnet.live.inbox import Bounds, Inbox
from edge_effnet.live.teaching import Teacher


@pytest.fixture
def lesson(exported: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[LedLesson]:
    led = LedLesson(exported["int8", "tflite"])
    monkeypatch.setattr("edge_effnet.learning.learn", led.learn)
    yield led
    led.go.set()


@pytest.fixture
def camera() -> Camera:
    return Camera("coffee", period_s=0.005)


@pytest.fixture
def teacher(bundled: Classifier, camera: Camera, tmp_path: Path) -> Iterator[Teacher]:
    """Over a running camera, whose inbox holds its first frame."""

    def open_network(path: Path | None, threads: int | None) -> Classifier:
        return Classifier(path, threads=threads or 1, decoding="quick")

    inbox: Any = Inbox(tmp_path / "desk" / "inbox", random=np.random.default_rng(0), bounds=Bounds(least_s=0, chance=0))
    with inbox, LiveClassifier(bundled, camera.opener("kitchen"), watchers=[inbox]) as live:
        made = Teacher(tmp_path / "desk", live, inbox=inbox, open_network=open_network)
        eventually(lambda: inbox.kept >= 1)
        yield made
    made.close()
