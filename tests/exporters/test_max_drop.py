from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_effnet import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.exporters import export
from edge_effnet.formats import read_tflite
from support.golden import make_state
from support.photos import synthetic_photo

pytestmark = [pytest.mark.torch, pytest.mark.litert]
OPTIONS: dict[str, Any] = {"precision": "int8", "source": "timm", "image_size": 64, "calibration_images": 4}


def photos(count: int) -> Sequence[Any]:
    return [synthetic_photo(seed) for seed in range(count)]


def small_export(path: Path, max_drop: float | None, count: int = 40) -> Any:
    return export(make_state("timm", "b0", classes=3), path, calibration=photos(count), max_drop=max_drop, **OPTIONS)


def test_a_drop_that_holds_leaves_everything_integer(tmp_path: Path) -> None:
    plain = small_export(tmp_path / "plain.tflite", None)
    kept = small_export(tmp_path / "kept.tflite", 100.0)
    assert kept.document.quantization["float_tensors"] == []
    assert kept.size_bytes == plain.size_bytes
    assert any("with nothing in float32" in remark for remark in kept.remarks)


def test_a_strict_drop_returns_blocks_to_float_or_says_it_cannot(tmp_path: Path) -> None:
    report = small_export(tmp_path / "strict.tflite", 0.0)
    floats = report.document.quantization["float_tensors"]
    sentence = report.remarks[-1]
    assert "of 36 held-out photos disagree with float" in sentence
    reached = float(sentence.split("reach: ")[-1].split(" %")[0])
    assert (reached == 0.0) != ("out of reach" in sentence)
    counts = read_tflite(tmp_path / "strict.tflite").operators_by_precision()
    assert bool(floats) == ("CONV_2D" in counts["float32"])
    with Classifier(tmp_path / "strict.tflite") as classifier:
        assert classifier.logits(synthetic_photo(99)).shape == (3,)


def test_class_folders_named_after_labels_are_the_truth(tmp_path: Path) -> None:
    for index in range(40):
        folder = tmp_path / "photos" / "abc"[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_photo(index).save(folder / f"{index}.png")
    state = make_state("timm", "b0", classes=3)
    report = export(state, tmp_path / "m.tflite", calibration=tmp_path / "photos", labels=["A", "B", "C"], max_drop=100.0, **OPTIONS)
    assert "are right in float and wrong" in report.remarks[-1]


def test_too_few_photos_left_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs at least 32 photos beside the 4 calibrated on, found 6"):
        small_export(tmp_path / "few.tflite", 1.0, count=10)
    assert not (tmp_path / "few.tflite").exists()


@pytest.mark.parametrize("wrong", [-1.0, 101.0, float("nan")])
def test_a_drop_is_a_number_of_points(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(UsageError, match="number of points"):
        small_export(tmp_path / "wrong.tflite", wrong)


def test_a_drop_goes_with_int8(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="goes with --precision int8"):
        export(make_state("timm", "b0", classes=3), tmp_path / "m.tflite", source="timm", max_drop=1.0)
