"""Damaged inputs of every form end in one of our errors, found by `benchmarks.fuzz.graphs`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.networks import export_narrow, narrow_state

from edge_effnet.benchmarks.fuzz.graphs import made
from edge_effnet.benchmarks.fuzz.inputs import read
from edge_effnet.errors import CheckpointError, EdgeEffnetError, UsageError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs import open as opening
from edge_effnet.exporters.inputs.options import InputOptions

pytestmark = [pytest.mark.onnx, pytest.mark.litert]


@pytest.mark.parametrize(
    ("kind", "campaign", "number"),
    [("input-onnx", 3, 152), ("input-onnx", 3, 238), ("input-tflite", 3, 229), ("input-archive", 4, 2)],
)
def test_mutants_that_were_unexpected(kind: str, campaign: int, number: int) -> None:
    if kind == "input-archive":
        pytest.importorskip("torch")
    with pytest.raises(EdgeEffnetError):
        read(kind, made(kind, number, campaign=campaign))


def test_what_no_check_names_is_still_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("'NoneType' object is not iterable")

    monkeypatch.setattr(opening, "form_of", broken)
    (tmp_path / "m.onnx").write_bytes(b"m")
    with pytest.raises(
        CheckpointError, match=r"m\.onnx: can't be read \(TypeError: .*\); the file is damaged, or holds"
    ):
        opening.open_network(tmp_path / "m.onnx", InputOptions())


@pytest.mark.parametrize("taken", ["weights.onnx", "labels.json", "config.json", "model.onnx"])
@pytest.mark.parametrize("form", ["file", "folder"])
def test_no_output_takes_the_place_of_what_belongs_to_the_input(form: str, taken: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    plain = tmp_path / "plain.onnx"
    export_narrow(narrow_state("b0"), "b0", plain, verification="none")
    folder = tmp_path / "folder"
    folder.mkdir()
    content = onnx.load(plain)
    onnx.save_model(
        content, folder / "model.onnx", save_as_external_data=True, location="weights.onnx", size_threshold=0
    )
    (folder / "labels.json").write_text(json.dumps(list("abcde")))
    (folder / "config.json").write_text("{}")
    before = (folder / taken).read_bytes()
    outputs = {"report": folder / taken, "precision": "int8"} if taken.endswith("json") else {}
    output = tmp_path / "o.tflite" if outputs else folder / taken
    with pytest.raises(UsageError, match=r"is (a file that belongs to )?the checkpoint, which it would overwrite"):
        export(folder if form == "folder" else folder / "model.onnx", output, **outputs)
    assert (folder / taken).read_bytes() == before
