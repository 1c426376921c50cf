from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Run, is_one_error

pytestmark = [pytest.mark.litert, pytest.mark.onnx]
Exported = dict[tuple[str, str], Path]


def test_float_and_int8_on_unlabelled_photos(run: Run, exported: Exported, photo_folder: Path) -> None:
    outcome = run("compare", exported["fp32", "tflite"], exported["int8", "tflite"], photo_folder)
    assert (outcome.status, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    assert list(result) == [
        "images",
        "top1_agreement",
        "top5_agreement",
        "mean_abs_score_difference",
        "logit_sqnr_db",
        "a",
        "b",
    ]
    assert (result["images"], result["top5_agreement"], result["a"]["top1"], result["b"]["top1"]) == (
        6,
        1.0,
        None,
        None,
    )
    assert (result["a"]["model"], result["b"]["model"]) == (
        str(exported["fp32", "tflite"]),
        str(exported["int8", "tflite"]),
    )
    assert result["logit_sqnr_db"] > 15


def test_two_formats_agree(run: Run, exported: Exported, photo_folder: Path) -> None:
    outcome = run(
        "compare",
        exported["fp32", "tflite"],
        exported["fp32", "onnx"],
        photo_folder,
        "--limit",
        "2",
        "--format",
        "text",
    )
    assert outcome.status == 0
    assert outcome.out.startswith("2 photos: top-1 agreement 100.00 %, top-5 overlap 100.00 %\n")
    assert "dB SQNR; scores differ by 0.00000 on average" in outcome.out
    assert "top-1 " not in outcome.out.splitlines()[2]
    assert (
        "logits: identical"
        in run("compare", exported["int8", "onnx"], exported["int8", "onnx"], photo_folder, "--format", "text").out
    )


def test_class_folders(run: Run, exported: Exported, photo_folder: Path, tmp_path: Path) -> None:
    for index, path in enumerate(sorted(photo_folder.glob("*.png"))):
        target = tmp_path / "data" / ("cat", "dog", "Köln")[index % 3]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    model = exported["int8", "tflite"]
    result = json.loads(run("compare", model, model, tmp_path / "data").out)
    assert (
        result["a"]["top1"]
        == result["b"]["top1"]
        == json.loads(run("eval", model, tmp_path / "data", "--no-record").out)["top1"]
    )
    (tmp_path / "data" / "cat").rename(tmp_path / "data" / "cow")
    (tmp_path / "data" / "dog" / "broken.jpg").write_bytes(b"broken")
    outcome = run("compare", model, model, tmp_path / "data", "--format", "text")
    assert outcome.status == 0
    assert "agreement alone, for the photos have no known classes: label 'cow'" in outcome.err
    assert "left out: " in outcome.err


def test_errors(run: Run, exported: Exported, tmp_path: Path, photo_folder: Path) -> None:
    model = exported["int8", "tflite"]
    assert is_one_error(run("compare", model, tmp_path / "none.tflite", photo_folder), "none.tflite")
    assert is_one_error(run("compare", model, model, tmp_path / "none"), "is no folder with photos")
    assert is_one_error(run("compare", model, model), "the following arguments are required: DATA")
