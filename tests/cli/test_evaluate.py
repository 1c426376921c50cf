from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import foreign

from edge_effnet import Classifier
from edge_effnet.formats import read_model_file

from .conftest import Run, is_one_error

pytestmark = [pytest.mark.litert, pytest.mark.onnx]
Exported = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def truth(exported: Exported, photo_folder: Path) -> dict[str, str]:
    """Photo name → the label our fp32 file gives it; the last one is made wrong."""
    with Classifier(exported["fp32", "onnx"]) as classifier:
        found = {path.name: classifier.predict(path, top_k=1)[0].label for path in sorted(photo_folder.glob("*.png"))}
        found["photo5.png"] = next(label for label in ("cat", "dog", "Köln") if label != found["photo5.png"])
    return found


@pytest.fixture
def class_folders(tmp_path: Path, photo_folder: Path, truth: dict[str, str]) -> Path:
    for name, label in truth.items():
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo_folder / name, tmp_path / "data" / label / name)
    return tmp_path / "data"


@pytest.fixture
def model(tmp_path: Path, exported: Exported) -> Path:
    return Path(shutil.copy(exported["fp32", "tflite"], tmp_path / "m.tflite"))


def test_class_folders(run: Run, model: Path, class_folders: Path) -> None:
    outcome = run("eval", model, class_folders, "--format", "json", "--threads", "1")
    assert outcome.status == 0
    result = json.loads(outcome.out)
    assert {"model", "images", "top1", "top5", "per_class", "confusion", "latency_ms"} <= set(result)
    assert (result["model"], result["images"], result["top1"], result["top5"]) == (str(model), 6, 5 / 6, 1.0)
    assert sum(map(sum, result["confusion"])) == 6
    assert sum(result["confusion"][index][index] for index in range(3)) == 5
    assert sum(row["images"] for row in result["per_class"]) == 6
    assert set(result["latency_ms"]["inference"]) == {"p50", "p90", "p99"}


@pytest.mark.parametrize("column", ["index", "label"])
def test_an_index_file(
    run: Run, model: Path, tmp_path: Path, photo_folder: Path, truth: dict[str, str], column: str
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "flat"))
    rows = [
        f"{name},{label if column == 'label' else ('cat', 'dog', 'Köln').index(label)}" for name, label in truth.items()
    ]
    (folder / "labels.csv").write_text("\n".join([f"file,{column}", *rows]), encoding="utf-8")
    assert json.loads(run("eval", model, folder, "--no-record").out)["top1"] == 5 / 6


@pytest.mark.parametrize("ending", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_accuracy_is_recorded_in_the_file(
    run: Run, tmp_path: Path, exported: Exported, class_folders: Path, precision: str, ending: str
) -> None:
    path = Path(shutil.copy(exported[precision, ending], tmp_path / f"m.{ending}"))
    before = read_model_file(path.read_bytes()).document
    outcome = run("eval", path, class_folders)
    assert "recorded the accuracy in" in outcome.err
    result = json.loads(outcome.out)
    after = read_model_file(path.read_bytes()).document
    assert before is not None
    assert after is not None
    assert before.accuracy is None
    assert after.accuracy == {"data": "data", **{key: result[key] for key in ("images", "top1", "top5", "engine")}}
    assert {**after.to_dict(), "accuracy": None} == before.to_dict()
    assert run("eval", path, class_folders).status == 0
    info = run("info", path).out
    assert f"top-1 {100 * result['top1']:.2f} %" in info
    assert "of 6 photos in data" in info


@pytest.mark.parametrize("options", [["--no-record"], ["--limit", "3"]])
def test_when_nothing_is_recorded(run: Run, model: Path, class_folders: Path, options: list[str]) -> None:
    before = model.read_bytes()
    outcome = run("eval", model, class_folders, *options)
    drawn = "edge-effnet: 3 of 6 photos, drawn from all classes alike by seed 0\n"
    assert (outcome.status, outcome.err) == (0, drawn if "--limit" in options else "")
    assert json.loads(outcome.out)["images"] == (3 if "--limit" in options else 6)
    assert model.read_bytes() == before


def test_a_file_that_cannot_be_written_is_still_measured(
    run: Run, model: Path, class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    outcome = run("eval", model, class_folders)
    assert outcome.status == 0
    assert "the accuracy is not recorded: can't write" in outcome.err
    assert json.loads(outcome.out)["images"] == 6


def test_unreadable_photos(run: Run, model: Path, class_folders: Path) -> None:
    (class_folders / "cat" / "broken.jpg").write_bytes(b"broken")
    outcome = run("eval", model, class_folders, "--no-record")
    result = json.loads(outcome.out)
    assert result["images"] == 6
    assert len(result["unreadable"]) == 1
    assert "broken.jpg: not a JPEG" in result["unreadable"][0]
    text = run("eval", model, class_folders, "--no-record", "--format", "text")
    assert "top-1 83.33 %   top-5 100.00 %" in text.out
    assert "left out: " in text.err


def test_no_photo_can_be_read(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad" / "cat").mkdir(parents=True)
    (tmp_path / "bad" / "cat" / "a.jpg").write_bytes(b"broken")
    assert is_one_error(run("eval", model, tmp_path / "bad"), "none of the 1 photos can be read")


def test_data_that_do_not_fit(run: Run, model: Path, tmp_path: Path) -> None:
    assert is_one_error(run("eval", model, tmp_path / "none"), "is no folder; expected class folders")
    (tmp_path / "d" / "horse").mkdir(parents=True)
    assert is_one_error(run("eval", model, tmp_path / "d"), "label 'horse' is not among the model's 3")


def test_a_file_of_another_maker_is_measured_and_left_alone(run: Run, tmp_path: Path, class_folders: Path) -> None:
    path = foreign.tflite(tmp_path / "foreign.tflite")
    before = path.read_bytes()
    (tmp_path / "names.txt").write_text("cat\ndog\nKöln\n", encoding="utf-8")
    outcome = run("eval", path, class_folders, "--image-size", "8", "--labels", tmp_path / "names.txt")
    assert outcome.status == 0
    digest, preparation = outcome.err.splitlines()
    assert "carries no SHA-256 of its weights" in digest
    assert "--input-range, --mean, --std, --resize-mode and --resizer if that isn't what it was" in preparation
    assert json.loads(outcome.out)["images"] == 6
    assert path.read_bytes() == before
