"""A camera that isn't upright, a folder of stills, thresholds by the classes, and why nothing is announced."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import PHOTOS, Scripted, view

from edge_effnet import Classifier
from edge_effnet.cli import main
from edge_effnet.errors import UsageError
from edge_effnet.live import LiveClassifier, Replay, Turn, default_rule, source_opener
from edge_effnet.live.decisions import DecisionRule, Evidence, weigh, weigh_still, why_waiting
from edge_effnet.live.state import live_state

HARDWARE = Path(__file__).parents[1] / "support" / "hardware"
IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def scores(*values: float) -> Any:
    return np.asarray(values, np.float32)


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (Turn(), IMAGE),
        (Turn(90), IMAGE[::-1].transpose(1, 0, 2)),
        (Turn(180), IMAGE[::-1, ::-1]),
        (Turn(270), IMAGE.transpose(1, 0, 2)[::-1]),
        (Turn(flip="horizontal"), IMAGE[:, ::-1]),
        (Turn(flip="vertical"), IMAGE[::-1]),
        (Turn(180, "horizontal"), IMAGE[::-1]),
    ],
)
def test_turns_are_clockwise_and_mirror_afterwards(turn: Turn, expected: Any) -> None:
    np.testing.assert_array_equal(turn.apply(IMAGE), expected)
    if turn.mirrors is not None:
        across, down = turn.mirrors
        np.testing.assert_array_equal(IMAGE[:: -1 if down else 1, :: -1 if across else 1], expected)
    else:
        assert turn.rotate in (90, 270)


def test_a_turn_that_can_not_be_meant() -> None:
    with pytest.raises(UsageError, match="rotate is 45, flip None; expected 0, 90, 180 or 270"):
        Turn(45)


@pytest.mark.parametrize("turn", [Turn(90), Turn(180), Turn(180, "vertical"), Turn(flip="horizontal")])
def test_every_source_is_turned(turn: Turn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """picamera2's by its own transform, where that can."""
    shutil.copy(PHOTOS / "coffee.jpg", tmp_path)
    upright = source_opener(str(tmp_path)).open()
    turned = source_opener(str(tmp_path), turn=turn).open()
    np.testing.assert_array_equal(next(turned).image, turn.apply(next(upright).image))
    monkeypatch.syspath_prepend(str(HARDWARE))
    for name in ("picamera2", "libcamera"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    camera, plain = source_opener("picamera2", turn=turn).open(), source_opener("picamera2").open()
    np.testing.assert_array_equal(next(camera).image, turn.apply(next(plain).image))
    import picamera2

    transform = picamera2.CONFIGURATIONS[-2]["transform"]
    assert (None if transform is None else (transform.hflip, transform.vflip)) == turn.mirrors
    for source in (camera, plain, upright, turned):
        source.close()
    for name in ("picamera2", "libcamera"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_defaults_follow_the_number_of_classes() -> None:
    rules = [default_rule(classes) for classes in (2, 10, 50, 1000)]
    assert [(rule.enter, rule.leave) for rule in rules] == [(0.8, 0.6), (0.7, 0.4), (0.5, 0.25), (0.25, 0.1)]
    assert default_rule(10, head="sigmoid").enter == 0.5


def test_why_nothing_is_announced() -> None:
    rule = DecisionRule(enter=0.5, leave=0.3, agree=2, window=3, margin=0.2, smoothing=1)
    assert why_waiting(rule, Evidence()) is None
    low = why_waiting(rule, weigh(rule, Evidence(), scores(0.4, 0.3, 0.3)))
    assert low is not None
    assert (low.reason, low.index) == ("enter", 0)
    once = weigh(rule, Evidence(), scores(0.6, 0.2, 0.2))
    waiting = why_waiting(rule, once)
    assert waiting is not None
    assert (waiting.reason, waiting.value) == ("agree", 1)
    twice = weigh(rule, once, scores(0.6, 0.2, 0.2))
    assert why_waiting(rule, twice) is None
    close = why_waiting(rule, weigh(rule, twice, scores(0.45, 0.55, 0)))
    assert close is not None
    assert (close.reason, close.index) == ("margin", 1)
    assert close.value == pytest.approx(0.1, abs=1e-6)


def test_lists_leave_scores_as_they_are() -> None:
    rule, allowed = DecisionRule(enter=0.2, leave=0.1, agree=1, window=1), scores(0, 1, 0)
    weighed = weigh(rule, Evidence(), scores(0.7, 0.25, 0.05), allowed=allowed)
    assert weighed.announced == 1
    np.testing.assert_array_equal(weighed.smoothed, scores(0.7, 0.25, 0.05))
    assert weigh_still(rule, scores(0.9, 0.1, 0), allowed=allowed).announced is None


@pytest.mark.litert
def test_each_photo_of_a_folder_is_a_scene(capsys: pytest.CaptureFixture[str]) -> None:
    """The docs' own try-out, quicker: each label is announced with its photo, and none stays."""
    assert main(["camera", "--source", str(PHOTOS), "--fps", "20"]) == 0
    labels = [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert {"espresso", "missile"} <= set(labels)
    assert len(labels) >= 3


@pytest.mark.litert
def test_an_end_without_an_event_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["camera", "--source", str(PHOTOS), "--enter", "1"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing was announced in " in err
    assert ", less than --enter 1" in err


@pytest.mark.litert
def test_frames_of_other_shapes(bundled: Classifier) -> None:
    """As picamera2 gives them by default: four channels, the fourth of no meaning."""
    coffee = view("coffee")
    four = np.concatenate((coffee, np.zeros((*coffee.shape[:2], 1), np.uint8)), axis=2)
    with LiveClassifier(bundled, [four] * 4, channels="rgba") as live:
        assert [event.label for event in live.events()] == ["espresso"]
    with LiveClassifier(bundled, [coffee[::-1, ::-1]] * 4, turn=Turn(180)) as live:
        assert [event.label for event in live.events()] == ["espresso"]
        reading = live.latest()
        assert reading is not None
        np.testing.assert_array_equal(reading.frame.image, coffee)


@pytest.mark.litert
def test_the_state_marks_what_may_be_announced(bundled: Classifier) -> None:
    with LiveClassifier(bundled, lambda: Scripted([view("coffee")] * 5), allow=["cup", "tabby"]) as live:
        assert live.wait(60)
        state = live_state(live, top_k=2)
    assert state["allowed"] == 2
    assert (state["top"][0]["label"], state["top"][0]["allowed"]) == ("espresso", False)
    assert state["top"][0]["score"] > 0.9
    assert [found["label"] for found in state["top"] if found["allowed"]] == ["cup", "tabby"]
    assert state["waiting"]["reason"] == "enter"
    assert re.fullmatch(r"cup has \d %, less than --enter 0.25", state["waiting"]["text"])


def test_replaying_frames_keeps_them_in_order(tmp_path: Path) -> None:
    shutil.copy(PHOTOS / "coffee.jpg", tmp_path)
    stills = source_opener(str(tmp_path)).open()
    frames = source_opener(str(tmp_path), replay=Replay(photos="frames")).open()
    assert (next(stills).still, next(frames).still) == (True, False)
