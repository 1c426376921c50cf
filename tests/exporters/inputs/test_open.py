"""Damaged inputs of every form end in one of our errors, found by `benchmarks.fuzz.graphs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_effnet.benchmarks.fuzz.graphs import made
from edge_effnet.benchmarks.fuzz.inputs import read
from edge_effnet.errors import CheckpointError, EdgeEffnetError
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
    with pytest.raises(
        CheckpointError, match=r"m\.onnx: can't be read \(TypeError: .*\); the file is damaged, or holds"
    ):
        opening.open_network(tmp_path / "m.onnx", InputOptions())
