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
from edge_effnet.exporters import candidate
from edge_effnet.exporters.judging import classes_of
from edge_effnet.formats import read_tflite
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import CalibrationSet

pytestmark = [pytest.mark.torch, pytest.mark.litert]
OPTIONS: dict[str, Any] = {"precision": "int8", "calibration_images": 4}


def small_export(path: Path, max_drop: float | None, count: int = 40) -> Any:
    return export_narrow(narrow_state("b0"), "b0", path, calibration=photos(count), max_drop=max_drop, **OPTIONS)


def test_a_strict_drop_returns_parts_to_float_or_says_it_cannot(tmp_path: Path) -> None:
    options = {**OPTIONS, "calibration": photos(40), "max_drop": 0.0, "report": tmp_path / "report.json"}
    made = export_narrow(narrow_state("b0"), "b0", tmp_path / "strict.tflite", **options)
    floats = made.document.quantization["float_tensors"]
    sentence = next(text for text in made.remarks if "--max-drop 0 is" in text)
    assert "is out of reach: at most about" in sentence  # no number of photos shows that nothing at all is lost
    assert "of photos like the 36 held out disagree with float" in sentence
    assert sentence.endswith("is the best found; 36 photos can't show less than 1.39, so add some")
    counts = read_tflite(tmp_path / "strict.tflite").operators_by_precision()
    assert bool(floats) == ("CONV_2D" in counts["float32"])
    with Classifier(tmp_path / "strict.tflite") as classifier:
        assert classifier.logits(synthetic_photo(99)).shape == (CLASSES,)
    _check_that_the_report_expects_no_noise_in_float(json.loads((tmp_path / "report.json").read_text()), floats)


def _check_that_the_report_expects_no_noise_in_float(report: dict[str, Any], floats: list[str]) -> None:
    tensors = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert floats
    assert report["subject"]["float_tensors"] == floats
    assert all((tensors[name]["noise_share"], tensors[name]["low"]) == (0, None) for name in floats)
    assert sum(tensor["noise_share"] for tensor in tensors.values()) in (0, pytest.approx(1, abs=1e-3))


def test_a_drop_that_holds_leaves_everything_integer_and_class_folders_are_the_truth(tmp_path: Path) -> None:
    for index in range(40):
        folder = tmp_path / "photos" / "abcde"[index % CLASSES]
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_photo(index).save(folder / f"{index}.png")
    options = {**OPTIONS, "calibration": tmp_path / "photos", "labels": list("ABCDE"), "max_drop": 100.0}
    report = export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **options)
    assert any("are right in float and wrong with nothing in float32" in text for text in report.remarks)
    assert report.document.quantization["float_tensors"] == ["head.swish"]
    assert "CONV_2D" not in read_tflite(tmp_path / "m.tflite").operators_by_precision()["float32"]


def test_a_candidate_without_finite_logits_is_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        """The session with NaN for logits."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def run(self, tensor: Any) -> Any:
            return self._session.run(tensor) * np.float32("nan")

    monkeypatch.setattr(
        candidate, "open_session", lambda *arguments, **options: Broken(open_session(*arguments, **options))
    )
    with pytest.raises(
        EngineError, match=r"the file made here gave NaN or infinite numbers for [0-9]+ of [0-9]+ photos"
    ):
        small_export(tmp_path / "m.tflite", 1.0)
    assert not (tmp_path / "m.tflite").exists()


def test_photos_are_labelled_by_their_folders_however_their_paths_are_given() -> None:
    class Entry:
        def __fspath__(self) -> str:
            return "photos/b/1.png"

    def classes(*sources: Any, labels: tuple[str, ...] = ("A", "B")) -> list[int] | None:
        return classes_of(CalibrationSet(sources, (), Preprocessing(36, 32), ""), labels)

    assert classes("photos/a/1.png", Path("photos/B/2.png"), Entry()) == [0, 1, 1]
    assert classes("photos/a/1.png", "photos/c/1.png") is None
    assert classes("photos/a/1.png", np.zeros((8, 8, 3), np.uint8)) is None
    assert classes(np.zeros((8, 8, 3), np.uint8), labels=("",)) is None


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
