from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.cameras import PHOTOS

from edge_effnet import Classifier
from edge_effnet.benchmarks.live import measure
from edge_effnet.benchmarks.live.__main__ import _missed
from edge_effnet.benchmarks.live.scenes import FRAME_SIZE, SCENES, video_frames, write_video
from edge_effnet.live import Event


def event(number: int, label: str, frame: int) -> Event:
    return Event(number, label, 0, 0.5, None, 0.0, 0.0, frame)


RIGHT = [event(1, "espresso", 3), event(2, "missile", 80), event(3, "tabby", 155), event(4, "espresso", 235)]


def test_the_video_is_the_same_every_time() -> None:
    first, second = (list(video_frames(PHOTOS, scene_frames=3)) for _ in range(2))
    assert len(first) == 3 * len(SCENES) == 12
    assert all(frame.shape == (*FRAME_SIZE[::-1], 3) and frame.dtype == np.uint8 for frame in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = next(iter(video_frames(PHOTOS, scene_frames=3, seed=1)))
    assert 1 < np.abs(other.astype(int) - first[0]).mean() < 20, "another seed: the same view, other noise"


def test_the_scenes_move_and_grow_dark() -> None:
    frames = [frame.astype(np.float32) for frame in video_frames(PHOTOS, scenes=SCENES[:1], scene_frames=8)]
    light = [float(frame.mean()) for frame in frames]
    assert min(light) == light[4] < 0.6 * light[0]
    assert np.abs(frames[2] / light[2] - frames[0] / light[0]).mean() > 0.1


def test_right_announcements() -> None:
    assert measure.judge(RIGHT) == []


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        (RIGHT[:3], ["3 announcements; expected 4"]),
        ([*RIGHT, event(5, "cup", 290)], ["5 announcements; expected 4"]),
        ([event(1, "cup", 3), *RIGHT[1:]], ["scene 0: cup; expected espresso"]),
        ([event(1, "espresso", 11), *RIGHT[1:]], ["scene 0: announced in its frame 11; expected 1 to 10"]),
        ([RIGHT[0], event(2, "missile", 75), *RIGHT[2:]], ["scene 1: announced in its frame 0; expected 1 to 10"]),
    ],
)
def test_wrong_announcements(events: list[Event], wrong: list[str]) -> None:
    assert measure.judge(events) == wrong


def test_bars_that_are_missed() -> None:
    good = {"overhead_percent": 4.9}
    soak = {"rss_growth_percent": 0.3, "threads": [5, 5, 6], "descriptors": [9, 9, 9]}
    assert (
        _missed({"overhead": good, "viewers": {"slower_percent": 9.9}, "soak": soak, "announcements": {"wrong": []}})
        == []
    )
    assert (
        len(
            _missed(
                {
                    "overhead": {"overhead_percent": 5.0},
                    "viewers": {"slower_percent": 10.0},
                    "soak": {**soak, "rss_growth_percent": 2.0},
                }
            )
        )
        == 3
    )
    assert _missed({"soak": {**soak, "threads": [5, 7, 7]}}) == ["threads grew from 5 to 7"]


@pytest.mark.litert
def test_the_measurements_run(bundled: Classifier) -> None:
    """What they find is no test; that they find something is."""
    pytest.importorskip("cv2")
    frames = list(video_frames(PHOTOS, scene_frames=2))
    found = measure.overhead(bundled, frames, rounds=2)
    assert found["predict_ms"] > 0
    assert found["live_cpu_ms"] > 0
    found = measure.viewers(bundled, frames, rounds=1, seconds=0.3, count=2)
    assert found["alone_fps"] > 0
    assert found["watched_fps"] > 0
    assert found["received_mb_a_round"] > 0


@pytest.mark.litert
def test_a_short_run_of_the_command(tmp_path: Path) -> None:
    """Half an hour is a benchmark; two seconds show that it counts memory, threads and descriptors."""
    pytest.importorskip("cv2")
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts by /proc")
    write_video(tmp_path / "scenes.avi", video_frames(PHOTOS, scene_frames=5))
    found = measure.soak(tmp_path / "scenes.avi", minutes=0.05, interval_s=0.5, warm_up_minutes=0.03)
    assert found["exit_status"] == 0
    assert found["frames"] > 0
    assert min(found["rss_mb"]) > 20
    assert min(found["threads"]) >= 3
    assert min(found["descriptors"]) >= 3
