"""Labels and metadata anew, without the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.formats import read_model_file

from .conftest import PHOTOS, Run, is_one_error

Exported = dict[tuple[str, str], Path]


@pytest.mark.parametrize("kind", [("fp32", "tflite"), ("int8", "tflite"), ("fp32", "onnx")])
def test_labels(run: Run, tmp_path: Path, exported: Exported, kind: tuple[str, str]) -> None:
    model, output = exported[kind], tmp_path / f"new.{kind[1]}"
    (tmp_path / "names.txt").write_text("un\ndeux\ntrois\n")
    before = model.read_bytes()
    outcome = run("edit", model, "--labels", tmp_path / "names.txt", "-o", output)
    assert (outcome.status, outcome.err, outcome.out) == (0, "", f"{output}: labels changed\n")
    assert model.read_bytes() == before
    contents = read_model_file(output)
    assert contents.labels == ("un", "deux", "trois")
    assert run("info", output, "--verify").status == 0
    assert run("info", output, "--labels").out == "0\tun\n1\tdeux\n2\ttrois\n"


@pytest.mark.litert
def test_labels_that_stand_twice_are_remarked_on(run: Run, tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "l.txt").write_text("cat\ncat\ndog\n")
    words = ("edit", exported["fp32", "tflite"], "-o", tmp_path / "m.tflite", "--labels", tmp_path / "l.txt")
    assert "labels that stand for several classes: 'cat' (2×)" in run(*words).err


def test_name_and_statistics_reach_the_official_metadata(run: Run, tmp_path: Path, exported: Exported) -> None:
    first, second = tmp_path / "a.tflite", tmp_path / "b.tflite"
    outcome = run("edit", exported["fp32", "tflite"], "--name", "Door", "--std", "0.25", "-o", first)
    assert outcome.status == 0, outcome.err
    contents = read_model_file(first)
    assert contents.document is not None
    assert contents.document.preprocessing.std == (0.25,) * 3
    assert b"Door" in bytes(contents.metadata["TFLITE_METADATA"])  # type: ignore[union-attr]
    assert run("edit", first, "--name", "Gate", "-o", second).status == 0
    assert abs(second.stat().st_size - first.stat().st_size) < 64  # the second edit takes the first one's place
    with Classifier(exported["fp32", "tflite"]) as before, Classifier(second) as after:
        photo = PHOTOS / "coffee.jpg"
        assert before.num_classes == after.num_classes
        assert after.metadata is not None
        assert after.metadata.extra["name"] == "Gate"
        assert not (before.logits(photo) == after.logits(photo)).all()  # another std
    assert run("info", second, "--verify").status == 0


def test_what_can_not_be_edited(run: Run, tmp_path: Path, exported: Exported) -> None:
    output = tmp_path / "n.tflite"
    (tmp_path / "names.txt").write_text("one\n")
    assert is_one_error(run("edit", BUNDLED_MODEL, "-o", output), "nothing to change: say one of --labels, --name")
    assert is_one_error(run("edit", exported["int8", "tflite"], "--mean", "0", "-o", output), "export it anew")
    assert is_one_error(run("edit", BUNDLED_MODEL, "--labels", tmp_path / "names.txt", "-o", output), "has 1 labels")
    assert is_one_error(run("edit", BUNDLED_MODEL, "--name", "x", "-o", tmp_path / "n.onnx"), "expected .tflite")
    assert not output.exists()


def test_another_preprocessing_takes_the_accuracy_out(run: Run, tmp_path: Path, exported: Exported) -> None:
    from dataclasses import replace

    from edge_effnet.formats import with_document

    model, output = tmp_path / "m.tflite", tmp_path / "n.tflite"
    data = exported["int8", "tflite"].read_bytes()
    document = read_model_file(data).document
    assert document is not None
    accuracy = {"data": "d", "images": 9, "top1": 0.5, "top5": 1.0, "engine": "litert"}
    model.write_bytes(with_document(data, replace(document, accuracy=accuracy)))
    larger = document.preprocessing.resize + 8
    outcome = run("edit", model, "--resize", larger, "-o", output)
    assert "is taken out" in outcome.err
    facts = json.loads(run("info", output, "--format", "json").out)["document"]
    assert (facts["accuracy"], facts["preprocessing"]["resize"]) == (None, larger)


@pytest.mark.parametrize(("count", "shown"), [(2, "2: a0, a1"), (3, "3: a0, a1, a2"), (4, "4: a0, a1, a2, …")])
def test_labels_that_are_not_shown_are_hinted_at(count: int, shown: str) -> None:
    from edge_effnet.cli.info import _some_labels

    assert _some_labels([f"a{number}" for number in range(count)]) == shown


def test_info_shows_what_quantization_chose_as_rows_and_not_as_a_dict(run: Run) -> None:
    text, whole = (run("info", BUNDLED_MODEL, "--format", form).out for form in ("text", "json"))
    recipe = json.loads(whole)["document"]["quantization"]["recipe"]
    line = next(line for line in text.splitlines() if line.startswith("recipe "))
    assert "{" not in line
    assert f"rounding {recipe['rounding']}" in line
    assert "calibrated on  128 photos, seed 0" in text
