"""The photo path's benchmark: that both sides do the same work, and how outcomes become rows. Times aren't tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ai_edge_litert")

from edge_effnet import Classifier
from edge_effnet.benchmarks import photo_path
from edge_effnet.benchmarks.photo_path import PlainPath, in_turn, large_jpegs, measure_files, ours, table
from edge_effnet.classifier import BUNDLED_MODEL

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "examples" / "photos"
COLD_START = ROOT / "benchmarks" / "cold_start.py"

pytestmark = pytest.mark.litert


def test_both_paths_find_the_same_class(bundled: Classifier) -> None:
    plain = PlainPath(BUNDLED_MODEL, bundled)
    with Image.open(PHOTOS / "coffee.jpg") as image:
        frame = np.asarray(image.convert("RGB"))
    espresso = bundled.predict(PHOTOS / "coffee.jpg")[0].index
    for source, bgr in (
        (PHOTOS / "coffee.jpg", False),
        (frame, False),
        (np.ascontiguousarray(frame[:, :, ::-1]), True),
    ):
        for best, total_ms, inference_ms in (ours(bundled, source, bgr=bgr), plain.classify(source, bgr=bgr)):
            assert best == espresso
            assert total_ms > inference_ms > 0


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_the_plain_path_feeds_float_files(exported: dict[tuple[str, str], Path], ending: str) -> None:
    with Classifier(exported["fp32", ending], threads=1, decoding="full") as classifier:
        best, _, _ = PlainPath(exported["fp32", ending], classifier).classify(PHOTOS / "chelsea.jpg")
        assert best == classifier.predict(PHOTOS / "chelsea.jpg")[0].index


def test_calls_take_turns() -> None:
    log: list[str] = []

    def call(name: str) -> photo_path.Outcome:
        log.append(name)
        return len(log), 0.0, 0.0

    found = in_turn([lambda: call("a"), lambda: call("b")], runs=2, warm_up=1)
    assert "".join(log) == "abbaab"
    assert [[number for number, _, _ in outcomes] for outcomes in found] == [[4, 5], [3, 6]]


def test_photos_become_large_jpegs(tmp_path: Path) -> None:
    for path in large_jpegs([PHOTOS / "chelsea.jpg"], tmp_path):
        with Image.open(path) as image:
            assert (image.format, round(image.width * image.height / 1e6, 1)) == ("JPEG", 12.0)
            assert image.width / image.height == pytest.approx(451 / 300, rel=1e-3)


def test_a_row_counts_photos_that_agree(bundled: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_path, "_PIXELS", 400_000)
    answers = iter([(1, 2.0, 1.0), (1, 8.0, 1.0)] * 2 + [(1, 4.0, 1.0), (2, 8.0, 1.0)])
    monkeypatch.setattr(photo_path, "in_turn", lambda calls, **_: [[next(answers)] for _ in calls])
    row = measure_files(bundled, PlainPath(BUNDLED_MODEL, bundled), [PHOTOS / "coffee.jpg"] * 3, runs=1)
    assert (row["photos"], row["same_top1"], row["ours_ms"], row["plain_ms"], row["ratio"]) == (3, 2, 2.0, 8.0, 0.25)
    assert "same top-1 on 2 of 3 photos" in table([row])
    assert "peak 60 MB against 70 MB" in table([{**row, "ours_peak_mb": 60.2, "plain_peak_mb": 70.1}])


def cold_start(*commands: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", str(COLD_START)],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_cold_start_has_a_time_and_a_peak_of_its_own() -> None:
    small, large = ([sys.executable, "-c", f"data = b'1' * {size}; print(1)"] for size in (1, 60_000_000))
    (first_seconds, first_mb), (second_seconds, second_mb), (_, third_mb) = json.loads(
        cold_start(small, large, small).stdout
    )
    assert min(first_seconds, second_seconds) > 0
    assert second_mb > max(first_mb, third_mb) + 50


def test_a_cold_start_that_fails() -> None:
    done = cold_start([sys.executable, "-c", "raise SystemExit(3)"])
    assert done.returncode == 1
    assert done.stderr.strip() == f"{sys.executable} -c raise SystemExit(3) failed"
    assert done.stdout == ""
