from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from support.cameras import Camera, view
from support.chromium import eventually

from edge_effnet import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live import LiveClassifier, MotionGate
from edge_effnet.live.motion import LONGEST_S, SETTLE_FRAMES, small_grey
from edge_effnet.live.state import is_healthy, live_state


def noisy(image: np.ndarray, seed: int, *, sigma: float = 4.0, brighter: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(brighter, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def passed(gate: MotionGate, images: list[np.ndarray], *, step_s: float = 0.1, start: float = 0.0) -> list[bool]:
    return [gate.lets_pass(image, start + number * step_s) for number, image in enumerate(images)]


def settled(gate: MotionGate, image: np.ndarray) -> None:
    assert (
        passed(gate, [noisy(image, seed) for seed in range(SETTLE_FRAMES + 5)])
        == [True] * (SETTLE_FRAMES + 1) + [False] * 4
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (240, 320), (241, 321)])
def test_the_small_picture(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 7, np.uint8)
    image[..., 1] = 200
    grey = small_grey(image)
    assert (grey.shape, grey.dtype) == ((24, 32), np.float32)
    assert (grey == 200).all()


def test_a_still_scene_with_noise_does_not_pass() -> None:
    gate = MotionGate()
    settled(gate, view("coffee"))
    assert not any(passed(gate, [noisy(view("coffee"), 100 + seed) for seed in range(60)], start=2))


def test_a_lamp_does_not_count_and_a_small_thing_does() -> None:
    gate = MotionGate()
    grey = np.full((240, 320, 3), 120, np.uint8)
    settled(gate, grey)
    assert not any(passed(gate, [noisy(grey, 9, brighter=20)], start=2))
    moved = grey.copy()
    moved[100:112, 100:112] = 180  # half a cell more than one of 768
    assert passed(gate, [noisy(moved, seed) for seed in range(3)], start=2.1) == [True] * 3


def test_what_changes_slowly_adds_up() -> None:
    gate = MotionGate()
    picture = np.full((240, 320, 3), 120, np.uint8)
    settled(gate, picture)
    steps = []
    for _ in range(10):
        picture = picture.copy()
        picture[:60, :60] += 2
        steps.append(picture)
    assert any(passed(gate, steps, start=2))


def test_a_frame_passes_each_ten_seconds() -> None:
    gate = MotionGate()
    settled(gate, view("coffee"))
    found = passed(gate, [view("coffee")] * 260, start=1.3)
    assert found.count(True) == 2
    assert found.index(True) == pytest.approx(LONGEST_S / 0.1, abs=2)


@pytest.mark.parametrize("levels", [0, 256, float("nan")])
def test_levels_that_can_not_be_meant(levels: float) -> None:
    with pytest.raises(UsageError):
        MotionGate(levels)


@pytest.mark.litert
def test_only_what_moves_is_classified_and_the_state_says_how_many_not(bundled: Classifier) -> None:
    camera = Camera("coffee", period_s=0.001)
    with LiveClassifier(bundled, camera.opener(), motion=MotionGate()) as live:
        events = live.events()
        assert next(events).label == "espresso"
        eventually(lambda: live.progress.spared > 100)
        before = live.progress.classified
        eventually(lambda: live.progress.spared > 200)
        assert live.progress.classified == before
        frames = live_state(live)["frames"]
        assert frames["spared"] >= 200
        assert is_healthy(live, stale_s=0.5)
        camera.scene = "rocket"
        assert next(events).label == "missile"


@pytest.mark.litert
def test_the_region_alone_counts(bundled: Classifier) -> None:
    from edge_effnet.live import Region

    def frames() -> object:
        for number in count():
            picture = np.zeros((100, 200, 3), np.uint8)
            picture[:, 100:] = 255 * (number % 2)
            yield picture
            if number == 200:
                return

    with LiveClassifier(bundled, frames(), region=Region(0, 0, 0.4, 1), motion=MotionGate()) as live:  # type: ignore[arg-type]
        live.wait(60)
        assert live.progress.classified == SETTLE_FRAMES + 1
        assert live.progress.spared == 200 - SETTLE_FRAMES
