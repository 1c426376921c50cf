from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.cameras import Camera
from support.chromium import eventually

from edge_effnet import Classifier
from edge_effnet.live import LiveClassifier
from edge_effnet.live.pacing import BackOff


@pytest.fixture
def camera() -> Camera:
    return Camera("coffee", period_s=0.02)


@pytest.fixture
def live(bundled: Classifier, camera: Camera) -> Iterator[LiveClassifier]:
    """Coffee, announced."""
    with LiveClassifier(bundled, camera.opener("kitchen"), back_off=BackOff(0.01, 0.05)) as running:
        eventually(lambda: running.journal.last_number() == 1)
        yield running
