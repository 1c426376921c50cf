from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cameras import PHOTOS, Camera, view
from support.chromium import eventually

from edge_effnet import Classifier
from edge_effnet.errors import OutputError
from edge_effnet.live import LiveClassifier, Reading, Region
from edge_effnet.live.fingerprint import fingerprint, from_text, is_like_any, to_text
from edge_effnet.live.frames import Frame
from edge_effnet.live.inbox import Bounds, Inbox
from edge_effnet.live.keeping import facts_of, pictures_in
from edge_effnet.unknown import UnknownMeasure

EAGER = Bounds(least_s=0.0, chance=0.0)
SCENES = [path.stem for path in sorted(PHOTOS.glob("*.jpg"))]
LABELS = ("cat", "dog", "tea")


def picture(seed: int) -> np.ndarray:
    """uint8[96, 128, 3]: random blocks, no two seeds alike."""
    blocks = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def reading(seed: int, scores: Any = (0.9, 0.05, 0.05), *, announced: int | None = 0, moment: float = 0.0) -> Reading:
    values = np.asarray(scores, np.float32)
    frame = Frame(picture(seed), 1_700_000_000 + moment, moment)
    return Reading(seed, frame, values, values, LABELS, announced, {})


def inbox(folder: Path, bounds: Bounds = EAGER, **options: Any) -> Inbox:
    return Inbox(folder, random=np.random.default_rng(0), bounds=bounds, **options)


def why(folder: Path) -> list[str]:
    return [facts_of(path)["why"] for path in pictures_in(folder)]


def test_what_is_kept_and_why(tmp_path: Path) -> None:
    with inbox(tmp_path, model="mine.tflite") as box:
        box.see(reading(1, moment=1))  # the first that is announced
        box.see(reading(2, moment=2))  # sure
        box.see(reading(3, (0.45, 0.4, 0.15), moment=3))  # near a tie
        box.see(reading(4, (0.1, 0.09, 0.05), moment=4))  # dust
        box.see(reading(5, announced=None, moment=5))  # a change to nothing
        box.see(reading(6, announced=None, moment=6))
    assert why(tmp_path) == ["change", "tie", "change"]
    first, second, _ = map(facts_of, pictures_in(tmp_path))
    assert second["scores"][:2] == [{"label": "cat", "score": 0.45}, {"label": "dog", "score": 0.4}]
    assert (second["announced"], second["frame"], second["model"]) == ("cat", 3, "mine.tflite")
    assert second["time"].startswith("2023-11-1")
    shown = np.asarray(Image.open(pictures_in(tmp_path)[0]), np.float32)
    assert np.abs(shown - picture(1)).mean() < 12
    np.testing.assert_array_equal(from_text(first["fingerprint"]), fingerprint(picture(1)))


def test_what_is_unknown_is_kept(tmp_path: Path) -> None:
    with inbox(tmp_path) as box:
        box.see(reading(1))
        for seed, value in ((2, 0.9), (3, 0.4)):
            box.see(replace(reading(seed), unknown=UnknownMeasure("similarity", value, 0.7)))
    assert why(tmp_path) == ["change", "unknown"]
    assert facts_of(pictures_in(tmp_path)[1])["unknown"]["value"] == 0.4


def test_independent_scores_are_in_doubt_near_one_half(tmp_path: Path) -> None:
    with inbox(tmp_path) as box:
        box.see(reading(1))
        box.see(replace(reading(2, (0.99, 0.98, 0.1)), independent=True))
        box.see(replace(reading(3, (0.52, 0.1, 0.1)), independent=True))
    assert why(tmp_path) == ["change", "tie"]


def test_never_two_alike_after_a_restart_either(tmp_path: Path) -> None:
    tie = (0.5, 0.49, 0.01)
    for _ in range(2):
        with inbox(tmp_path) as box:
            for seed in (1, 2, 1, 2):
                box.see(reading(seed, tie))
    assert len(pictures_in(tmp_path)) == 2


def test_fingerprints_tell_scenes_apart_and_not_noise_or_light() -> None:
    prints = np.array([fingerprint(view(name)) for name in SCENES])
    random = np.random.default_rng(0)
    for index, name in enumerate(SCENES):
        noisy = np.clip(view(name) + random.normal(6, 5, view(name).shape), 0, 255).astype(np.uint8)
        assert is_like_any(fingerprint(noisy), prints[index : index + 1]), name
        assert not is_like_any(prints[index], np.delete(prints, index, 0)), name
    assert not is_like_any(prints[0], np.array([]))
    np.testing.assert_array_equal(from_text(to_text(prints[0])), prints[0])
    assert from_text("00") is from_text("x") is from_text(None) is None


def test_bounds_on_rate(tmp_path: Path) -> None:
    tie = (0.5, 0.49, 0.01)
    with inbox(tmp_path, Bounds(least_s=2.0, most_an_hour=3, chance=0)) as box:
        for seed in range(200):
            box.see(reading(seed, tie, moment=float(seed)))
        box.see(reading(200, tie, moment=3600.0 + 1))
    kept = [facts_of(path)["frame"] for path in pictures_in(tmp_path)]
    assert kept == [0, 2, 4, 200]


def test_bounds_on_number_and_bytes_let_the_oldest_go(tmp_path: Path) -> None:
    tie = (0.5, 0.49, 0.01)
    with inbox(tmp_path / "number", replace(EAGER, most_pictures=3)) as box:
        for seed in range(6):
            box.see(reading(seed, tie, moment=float(seed)))
            eventually(lambda seed=seed: box.kept == seed + 1)
    assert [facts_of(path)["frame"] for path in pictures_in(tmp_path / "number")] == [3, 4, 5]
    size = pictures_in(tmp_path / "number")[0].stat().st_size
    with inbox(tmp_path / "bytes", replace(EAGER, most_bytes=int(2.5 * size))) as box:
        for seed in range(6):
            box.see(reading(seed, tie, moment=float(seed)))
            eventually(lambda seed=seed: box.kept == seed + 1)
    assert [facts_of(path)["frame"] for path in pictures_in(tmp_path / "bytes")] == [4, 5]
    assert len(list((tmp_path / "bytes").iterdir())) == 4, "documents go with their pictures"


def test_a_full_disk_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with inbox(tmp_path) as box:
        for seed in range(3):
            box.see(reading(seed, (0.5, 0.49, 0.01)))
    assert pictures_in(tmp_path) == []
    (record,) = caplog.records
    assert "0 MB of the disk are free" in record.getMessage()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        inbox(tmp_path / "file")


def test_a_small_share_is_drawn_by_chance(tmp_path: Path) -> None:
    def kept() -> list[int]:
        shutil.rmtree(tmp_path / "box", ignore_errors=True)
        with Inbox(tmp_path / "box", random=np.random.default_rng(7), bounds=replace(EAGER, chance=0.05)) as box:
            for seed in range(100):
                box.see(reading(seed, moment=float(seed)))
                eventually(lambda: box._waiting.empty())
        return [facts_of(path)["frame"] for path in pictures_in(tmp_path / "box")]

    first = kept()
    assert 3 <= len(first) <= 12
    assert kept() == first, "the same draws give the same frames"


@pytest.mark.litert
def test_a_camera_keeps_the_part_that_it_classifies(bundled: Classifier, tmp_path: Path) -> None:
    camera, region = Camera("coffee"), Region(0.25, 0, 0.5, 1)
    with (
        inbox(tmp_path, region=region) as box,
        LiveClassifier(bundled, camera.opener(), region=region, watchers=[box]) as live,
    ):
        eventually(lambda: live.journal.last_number() >= 1 and box.kept)
        camera.scene = "rocket"
        eventually(lambda: box.kept >= 2)
    assert {Image.open(path).size for path in pictures_in(tmp_path)} == {(160, 240)}


_WRITER = """
    import sys
    import numpy as np
    sys.path.insert(0, sys.argv[2])
    from live.test_inbox import reading, inbox
    from pathlib import Path
    box = inbox(Path(sys.argv[1]))
    seed = int(sys.argv[3])
    print("ready", flush=True)
    while True:
        seed += 1
        box.see(reading(seed, (0.5, 0.49, 0.01), moment=float(seed)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_killed_at_any_time_every_picture_is_whole(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    for attempt in range(2):
        words = [sys.executable, "-c", textwrap.dedent(_WRITER), tmp_path, tests, str(10_000 * attempt)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tests)})
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1 + 0.07 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        for path in pictures_in(tmp_path):
            Image.open(path).load()
            assert json.loads(path.with_suffix(".json").read_text())["why"] in ("tie", "change")
    inbox(tmp_path).close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names
    assert {name for name in names if name.endswith(".json")} == {
        name.replace(".jpg", ".json") for name in names if name.endswith(".jpg")
    }
