"""The call as a whole: what the file says, equal bytes, and nothing left behind when it fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.golden import State
from support.photos import synthetic_photo

from edge_effnet.decoding import IMAGE_FORMATS, TIFF, ImageRules
from edge_effnet.errors import CalibrationError, CheckpointError, OutputError, UsageError
from edge_effnet.exporters import PRECISIONS, export
from edge_effnet.exporters.calibrated import calibrate, part_photos, refine_calibrated
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.formats import read_model_file
from edge_effnet.metadata import ModelDocument
from edge_effnet.quantization.measure.calibration import draw_calibration_set

pytestmark = [pytest.mark.litert, pytest.mark.onnx]
SMALL: dict[str, Any] = {"source": "timm-tf", "image_size": 32, "refine": 0.0}


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_equal_bytes_twice(tmp_path: Path, lite0_state: State, photo_folder: Path, precision: Any, ending: str) -> None:
    digests = set()
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{ending}"
        report = export(
            lite0_state, path, precision=precision, labels=("a", "b", "c"), calibration=photo_folder, **SMALL
        )
        assert report.size_bytes == path.stat().st_size
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_document(tmp_path: Path, lite0_state: State, photo_folder: Path) -> None:
    for ending in ("tflite", "onnx"):
        path = tmp_path / f"m.{ending}"
        report = export(
            lite0_state,
            path,
            precision="int8",
            labels=("a", "b", "c"),
            calibration=photo_folder,
            calibration_images=4,
            seed=3,
            mean=(0.4, 0.4, 0.4),
            **SMALL,
        )
        document = read_model_file(path).document
        assert document == report.document
        assert document is not None
        assert (document.variant, document.image_size, document.num_classes, document.precision) == (
            "lite0",
            32,
            3,
            "int8",
        )
        assert (document.labels, document.accuracy) == (("a", "b", "c"), None)
        assert document.preprocessing.mean == (0.4, 0.4, 0.4)
        assert {key: document.source[key] for key in ("dialect", "padding", "bn_eps")} == {
            "dialect": "timm-tf",
            "padding": "same",
            "bn_eps": 1e-3,
        }
        assert len(document.source["sha256"]) == 64
        assert document.quantization is not None
        assert (document.quantization["calibration_images"], document.quantization["seed"]) == (4, 3)
        assert len(document.quantization["calibration_digest"]) == 64
        assert document.created_by.startswith("edge-effnet ")


def test_float_files_have_no_quantization_and_labels_may_come_from_a_file(tmp_path: Path, lite0_state: State) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    report = export(lite0_state, tmp_path / "m.tflite", labels=tmp_path / "labels.txt", **SMALL)
    assert (report.document.quantization, report.document.labels) == (None, ("a", "b", "c"))


def test_the_seed_draws_other_photos(tmp_path: Path, lite0_state: State, photo_folder: Path) -> None:
    digests = {
        seed: _digest(
            export(
                lite0_state,
                tmp_path / "m.tflite",
                precision="int8",
                calibration=photo_folder,
                calibration_images=2,
                seed=seed,
                **SMALL,
            )
        )
        for seed in range(3)
    }
    assert len(set(digests.values())) > 1


def test_refinement_is_recorded_and_gives_equal_bytes(tmp_path: Path, lite0_state: State, photo_folder: Path) -> None:
    options: dict[str, Any] = {**SMALL, "precision": "int8", "calibration": photo_folder, "refine": 0.003}
    found = []
    for name in ("a", "b"):
        report = export(lite0_state, tmp_path / f"{name}.tflite", **options)
        found.append((tmp_path / f"{name}.tflite").read_bytes())
    assert found[0] == found[1]
    assert report.document.quantization is not None
    refinement = report.document.quantization["refinement"]
    assert refinement["steps"] == refinement["planned"] >= 1
    assert (refinement["photos"], refinement["held_out"], refinement["ended"]) == (6, 0, "as planned")
    assert [text for text in report.remarks if text.startswith("refined: ")]
    quick = export(lite0_state, tmp_path / "quick.tflite", **{**options, "refine": 0.0})
    assert "refinement" not in (quick.document.quantization or {})


def test_parts_in_float_keep_what_was_learned(lite0_state: State, photo_folder: Path) -> None:
    network = open_network(lite0_state, InputOptions(source="timm-tf", image_size=(32, 32)))
    document = ModelDocument("lite0", 32, 3, None, network.preprocessing, "int8", {})
    photos = part_photos(draw_calibration_set(photo_folder, network.preprocessing, limit=6, seed=0), seed=0)
    made = calibrate(network.graph, document, ".tflite", photos=photos)
    refined, sentence = refine_calibrated(made, minutes=0.01)
    assert sentence.startswith("refined: ")
    assert refined.correct(refined.quantized.activations) is refined.quantized.graph
    assert made.correct(made.quantized.activations) is not made.quantized.graph


def _digest(report: Any) -> str:
    return str(report.document.quantization["calibration_digest"])


def test_calibration_takes_a_sequence_and_reports_broken_photos(tmp_path: Path, lite0_state: State) -> None:
    export(
        lite0_state,
        tmp_path / "m.tflite",
        precision="int8",
        calibration=[synthetic_photo(seed) for seed in range(3)],
        **SMALL,
    )
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for seed in range(16):
        synthetic_photo(seed, 40, 40).save(folder / "deep" / f"{seed}.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no photo")
    report = export(lite0_state, tmp_path / "m.tflite", precision="int8", calibration=folder, **SMALL)
    assert any("left out a calibration photo: " in text and "broken.jpg" in text for text in report.remarks)


def test_photos_are_decoded_by_the_rules_from_beginning_to_end(tmp_path: Path, lite0_state: State) -> None:
    """TIFFs, read on request alone: calibrated on, measured on for the drop, and shown in the report."""
    folder = tmp_path / "tiffs"
    folder.mkdir()
    for seed in range(80):
        synthetic_photo(seed, 40, 40).save(folder / f"{seed:02}.tif")
    options: dict[str, Any] = {"precision": "int8", "calibration": folder, "calibration_images": 4, **SMALL}
    with pytest.raises(CalibrationError, match=r"0 usable photos, 80 broken.*a TIFF, which is read on request alone"):
        export(lite0_state, tmp_path / "m.tflite", **options)
    rules = ImageRules(formats=(*IMAGE_FORMATS, TIFF))
    report = export(
        lite0_state, tmp_path / "m.tflite", image_rules=rules, max_drop=100, report=tmp_path / "r.json", **options
    )
    assert not any("left out" in text for text in report.remarks)
    shown = json.loads((tmp_path / "r.json").read_text())["held_out"]["photos"]
    assert shown
    assert all(photo["name"].endswith(".tif") for photo in shown)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"precision": "int4"},
            UsageError,
            "precision 'int4' is unknown; expected one of fp32, fp16, int8, weight-int8",
        ),
        ({"precision": "int8", "refine": -1.0}, UsageError, "refinement of -1 minutes; expected more than 0"),
        ({"precision": "int8", "refine": float("nan")}, UsageError, "refinement of nan minutes"),
        ({"precision": "int8"}, UsageError, "int8 needs photos to calibrate on: --calibration DIR"),
        (
            {"precision": "int8", "calibration": "/nowhere"},
            CalibrationError,
            "calibration folder /nowhere does not exist",
        ),
        ({"precision": "int8", "calibration": []}, CalibrationError, "no photos in"),
        ({"labels": ("a",)}, UsageError, "labels has 1 labels, the model 3 classes"),
        ({"image_size": 31}, UsageError, "image size 31: expected 32 to 2048"),
        ({"image_size": 4096}, UsageError, "image size 4096"),
        ({"source": None}, CheckpointError, "say which it was"),
    ],
)
def test_what_cannot_be_exported(
    tmp_path: Path, lite0_state: State, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(lite0_state, tmp_path / "m.tflite", **{**SMALL, **options})
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(("name", "ending"), [("m.pb", ".pb"), ("m", "nothing")])
def test_other_endings(tmp_path: Path, name: str, ending: str) -> None:
    with pytest.raises(UsageError, match=rf"ends in {ending}; expected \.tflite or \.onnx"):
        export({}, tmp_path / name)


def test_broken_weights(tmp_path: Path, lite0_state: State) -> None:
    nan, negative = dict(lite0_state), dict(lite0_state)
    nan["conv_head.weight"] = lite0_state["conv_head.weight"].copy()
    nan["conv_head.weight"][0, :2, 0, 0] = (np.nan, np.inf)  # type: ignore[index]
    negative["bn2.running_var"] = -lite0_state["bn2.running_var"]  # type: ignore[operator]
    for state, message in (
        (nan, r"tensor conv_head\.weight holds 2 NaN or infinite values of 409600; expected numbers: training"),
        (negative, "a batch norm has a negative running variance"),
    ):
        with pytest.raises(CheckpointError, match=message):
            export(state, tmp_path / "m.tflite", **SMALL)
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("error", [RuntimeError("emitter broke"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_failed_export_leaves_no_file_and_keeps_an_old_one(
    tmp_path: Path, lite0_state: State, monkeypatch: pytest.MonkeyPatch, ending: str, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise error

    monkeypatch.setattr(f"edge_effnet.exporters.outputs.{ending}.emit_{ending}", fail)
    for before in ({}, {f"m.{ending}": b"old"}):
        for name, content in before.items():
            (tmp_path / name).write_bytes(content)
        with pytest.raises(type(error)):
            export(lite0_state, tmp_path / f"m.{ending}", **SMALL)
        assert listing(tmp_path) == before


def test_interrupted_while_writing(tmp_path: Path, lite0_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(lite0_state, tmp_path / "m.tflite", **SMALL)
    assert listing(tmp_path) == {}


def test_a_missing_folder_is_noticed_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"the folder .* does not exist; create it first"):
        export("no checkpoint is read", tmp_path / "none" / "m.tflite")


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission to write in"):
        export("no checkpoint is read", tmp_path / "m.tflite")


def test_the_callers_weights_stay(tmp_path: Path, lite0_state: State) -> None:
    before = {key: value.tobytes() for key, value in lite0_state.items()}
    export(lite0_state, tmp_path / "m.tflite", precision="weight-int8", **SMALL)
    assert {key: value.tobytes() for key, value in lite0_state.items()} == before


def test_progress_is_told(tmp_path: Path, lite0_state: State) -> None:
    told: list[tuple[str, int, int]] = []
    photos = [Image.new("RGB", (40, 40), (seed * 20, 100, 50)) for seed in range(3)]
    export(
        lite0_state,
        tmp_path / "m.tflite",
        precision="int8",
        calibration=photos,
        progress=lambda *values: told.append(values),
        **SMALL,
    )
    assert told
    assert all(0 < done <= total and isinstance(stage, str) for stage, done, total in told)
    assert told[-1][1] == told[-1][2]
