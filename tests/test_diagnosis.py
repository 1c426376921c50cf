"""What made a model's answers wrong, found again where it was made wrong on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import export_narrow, narrow_state
from support.photos import synthetic_photo

from edge_effnet import Classifier, Preprocessing
from edge_effnet.cli.main import main
from edge_effnet.datasets import LabelledImage
from edge_effnet.diagnosis import diagnose, suspects_of
from edge_effnet.errors import UsageError

LABELS = list("abcde")
RIGHT: dict[str, Any] = {"labels": LABELS, "channels": "bgr", "mean": (0.0,) * 3, "std": (1.0,) * 3}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(24):
        synthetic_photo(seed, 120, 80).save(folder / f"{seed:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def labelled(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    """What the network says of them, prepared as it should be."""
    path = tmp_path_factory.mktemp("right") / "right.tflite"
    export_narrow(narrow_state("b0"), "b0", path, **RIGHT)
    with Classifier(path, probe="never") as classifier:
        return [LabelledImage(photo, frozenset({int(classifier.logits(photo).argmax())})) for photo in photos]


def found_in(path: Path, labelled: list[LabelledImage]) -> dict[str, Any]:
    with Classifier(path, probe="never") as classifier:
        return diagnose(classifier, labelled)


@pytest.mark.litert
def test_wrong_statistics_are_found(labelled: list[LabelledImage], tmp_path: Path) -> None:
    export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **{**RIGHT, "std": (1 / 255,) * 3})
    found = found_in(tmp_path / "m.tflite", labelled)
    rows = {row["what"]: row for row in found["suspects"]}
    assert found["images"] == 24
    assert found["top1"] < 1
    assert rows["pixels in 0..1"]["top1"] == 1
    assert rows["pixels in 0..1"]["gain"] == pytest.approx(1 - found["top1"])
    assert {"RGB pixels", "squashed", "resized by opencv's bilinear"} <= set(rows)
    assert [row["gain"] for row in found["suspects"]] == sorted(
        (row["gain"] for row in found["suspects"]), reverse=True
    )


@pytest.mark.litert
def test_labels_out_of_place_are_found(labelled: list[LabelledImage], tmp_path: Path) -> None:
    moved = [*LABELS[1:], LABELS[0]]
    export_narrow(narrow_state("b0"), "b0", tmp_path / "m.tflite", **{**RIGHT, "labels": moved})
    shifted = [LabelledImage(item.path, frozenset({(min(item.classes) - 1) % 5})) for item in labelled]
    rows = {row["what"]: row for row in found_in(tmp_path / "m.tflite", shifted)["suspects"]}
    assert rows["labels in alphabetical order, as ImageFolder sorts"]["top1"] == 1
    assert rows["every label one earlier in the list"]["top1"] == 1


@pytest.mark.litert
def test_a_right_model_has_nothing_to_gain(labelled: list[LabelledImage], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "m.tflite"
    export_narrow(narrow_state("b0"), "b0", path, **RIGHT)
    found = found_in(path, labelled)
    assert (found["top1"], found["together"]) == (1.0, None)
    assert not any(row["sure"] or row["gain"] > 0 for row in found["suspects"])
    rows = "".join(f"{item.path},{min(item.classes)}\n" for item in labelled)
    (tmp_path / "labels.csv").write_text(f"file,index\n{rows}")
    assert main(["eval", str(path), str(tmp_path), "--diagnose", "--limit", "4", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    assert main(["eval", str(path), str(tmp_path), "--diagnose", "--format", "text"]) == 0
    text = capsys.readouterr().out
    assert "(litert, 24 photos): top-1 100.0 %" in text
    assert "none of these would raise the accuracy by more than chance" in text


def test_suspects_are_others_than_the_own() -> None:
    own = Preprocessing(64, 64, "bilinear", (0.5,) * 3, (0.5,) * 3, mode="squash")
    kinds = [(suspect.kind, suspect.what) for suspect in suspects_of(own)]
    assert ("mode", "squashed") not in kinds
    assert ("mean and std", "pixels in -1..1") not in kinds
    assert ("resizer", "resized by pillow's bilinear") not in kinds
    assert {kind for kind, _ in kinds} == {"channels", "mode", "mean and std", "resizer"}
    grey = Preprocessing(64, 64, "bilinear", (0.5,), (0.5,), channels="grey")
    assert not any(suspect.kind == "channels" for suspect in suspects_of(grey))
    assert all(suspect.change(grey).depth == 1 for suspect in suspects_of(grey))


@pytest.mark.litert
def test_a_file_with_its_normalisation_inside(labelled: list[LabelledImage]) -> None:
    """The bundled int8 model takes pixels: another normalisation is worked back to pixels that make the same of it."""
    with Classifier() as classifier:
        own = classifier.preprocessing
        found = diagnose(classifier, [LabelledImage(item.path, frozenset({7})) for item in labelled[:2]])
    assert found["images"] == 2
    assert (own.mean, own.std) == ((0.5,) * 3, (0.5,) * 3)
    assert any(row["kind"] == "mean and std" for row in found["suspects"])


def test_nothing_to_try_on(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    with (
        Classifier() as classifier,
        pytest.raises(UsageError, match="none of the photos can be read; expected labelled"),
    ):
        diagnose(classifier, [LabelledImage(tmp_path / "a.jpg", frozenset({0}))])
    assert np.isfinite(classifier.preprocessing.mean).all()
