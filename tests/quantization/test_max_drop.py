from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import CLASSES, export_narrow, narrow_state, photos
from support.photos import synthetic_photo

from edge_effnet import Classifier
from edge_effnet.engines import open_session
from edge_effnet.errors import EngineError, UsageError
from edge_effnet.exporters import max_drop
from edge_effnet.formats import read_tflite

pytestmark = [pytest.mark.torch, pytest.mark.litert]
OPTIONS: dict[str, Any] = {"precision": "int8", "calibration_images": 4}


def small_export(path: Path, max_drop: float | None, count: int = 40) -> Any:
    return export_narrow(narrow_state("b0"), "b0", path, calibration=photos(count), max_drop=max_drop, **OPTIONS)


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
    assert "is out of reach: at most about" in sentence  # no number of photos shows that nothing at all is lost
    assert "of photos like the 36 held out disagree with float" in sentence
    assert sentence.endswith("is the best found; 36 photos can't show less than 1.39, so add some")
    counts = read_tflite(tmp_path / "strict.tflite").operators_by_precision()
    assert bool(floats) == ("CONV_2D" in counts["float32"])
    with Classifier(tmp_path / "strict.tflite") as classifier:
        assert classifier.logits(synthetic_photo(99)).shape == (CLASSES,)


def test_the_report_expects_no_noise_of_what_went_back_to_float(tmp_path: Path) -> None:
    options = {**OPTIONS, "calibration": photos(40), "max_drop": 0.0, "report": tmp_path / "report.json"}
    made = export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **options)
    floats = made.document.quantization["float_tensors"]
    report = json.loads((tmp_path / "report.json").read_text())
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert floats
    assert report["subject"]["float_tensors"] == floats
    assert all((tensors[name]["noise_share"], tensors[name]["low"]) == (0, None) for name in floats)
    assert sum(tensor["noise_share"] for tensor in tensors.values()) in (0, pytest.approx(1, abs=1e-3))


def test_class_folders_named_after_labels_are_the_truth(tmp_path: Path) -> None:
    for index in range(40):
        folder = tmp_path / "photos" / "abcde"[index % CLASSES]
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_photo(index).save(folder / f"{index}.png")
    options = {**OPTIONS, "calibration": tmp_path / "photos", "labels": list("ABCDE"), "max_drop": 100.0}
    report = export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **options)
    assert "are right in float and wrong" in report.remarks[-1]


def test_a_candidate_without_finite_logits_is_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        """The session with NaN for logits."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def run(self, tensor: Any) -> Any:
            return self._session.run(tensor) * np.float32("nan")

    monkeypatch.setattr(max_drop, "open_session", lambda *arguments, **options: Broken(open_session(*arguments, **options)))
    with pytest.raises(EngineError, match="a candidate gave NaN or infinite logits"):
        small_export(tmp_path / "m.tflite", 1.0)
    assert not (tmp_path / "m.tflite").exists()


def test_photos_given_as_paths_are_labelled_by_their_folders(tmp_path: Path) -> None:
    class Entry:
        def __init__(self, path: Path) -> None:
            self._path = path

        def __fspath__(self) -> str:
            return str(self._path)

    for index in range(40):
        folder = tmp_path / "abcde"[index % CLASSES]
        folder.mkdir(exist_ok=True)
        synthetic_photo(index).save(folder / f"{index}.png")
    options = {**OPTIONS, "calibration": [Entry(path) for path in sorted(tmp_path.glob("*/*.png"))], "labels": list("ABCDE"), "max_drop": 100.0}
    report = export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **options)
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
        export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", max_drop=1.0)
