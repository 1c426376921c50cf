"""Networks too large for a file that could be read again are refused before the work, with what would fit."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from support.networks import export_narrow, narrow_state

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.exporters import bounds
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.formats import read_model_file, tflite_rules

#: Bytes of a narrow network's 211,000 weights, and of its tensors at 64 pixels.
BYTES = 1 << 20


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(*_: Any) -> None:
        raise AssertionError("the file was made")

    monkeypatch.setattr(importlib.import_module("edge_effnet.exporters.export"), "emit", emit)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("limit", "precision", "what_to_do"),
    [
        (BYTES // 2, "fp32", "--precision fp16 or int8 or weight-int8"),
        (BYTES // 4, "fp16", "--precision int8 or weight-int8"),
        (1000, "int8", "no precision is small enough"),
    ],
)
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_file_that_is_too_large(
    limit: int, precision: str, what_to_do: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_FILE_BYTES", limit)
    with pytest.raises(
        UsageError, match=rf"has 0 million weights, a file of \d MiB in {precision}; files .*{what_to_do}"
    ):
        export_narrow(narrow_state("b0"), "b0", tmp_path / f"m.{ending}", precision=precision, calibration="nowhere")


@pytest.mark.usefixtures("no_work")
def test_tensors_that_need_too_much_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = narrow_state("b0")
    monkeypatch.setattr(bounds, "MOST_LIVE_BYTES", BYTES)
    with pytest.raises(UsageError, match=r"at 256×192 pixels .* needs 6 MiB .* --image-size 96x64, or an \.onnx"):
        export_narrow(state, "b0", tmp_path / "m.tflite", image_size=(256, 192))
    with pytest.raises(AssertionError, match="the file was made"):
        export_narrow(state, "b0", tmp_path / "m.onnx", image_size=(256, 192), verification="none")


@pytest.mark.litert
@pytest.mark.parametrize("variant", ["b0", "lite0"])
def test_what_lives_at_once_is_counted_as_the_reader_does(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, source = narrow_state(variant), {"b0": "timm", "lite0": "timm-tf"}[variant]
    export_narrow(state, variant, tmp_path / "m.tflite")
    counted = bounds._most_live(open_network(state, InputOptions(source=source, image_size=(64, 64))).graph)
    monkeypatch.setattr(tflite_rules, "MOST_LIVE_BYTES", 0)
    with pytest.raises(ModelFileError) as caught:
        read_model_file(tmp_path / "m.tflite")
    (needed,) = re.findall(r"needs ([\d,]+) bytes", str(caught.value))
    assert int(needed.replace(",", "")) == counted
