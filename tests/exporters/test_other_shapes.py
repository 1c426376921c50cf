"""Class counts, sizes and paddings that the golden cases don't have, against the reference in tests/support."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import make_state, noise
from support.reference import Reference
from support.running import run_file

from edge_effnet.exporters import export

pytestmark = [pytest.mark.torch, pytest.mark.litert, pytest.mark.onnx]

#: The files compute in float32, the reference in float64; logits of random weights are of order 1 to 10.
TOLERANCE = 1e-4
PADDING = {
    "timm": ("symmetric", 1e-5),
    "timm-tf": ("same", 1e-3),
    "torchvision": ("symmetric", 1e-5),
    "lukemelas": ("baked", 1e-3),
}

#: dialect, variant, classes, image size, file format.
CASES = [
    ("timm", "b0", 2, 97, "tflite"),
    ("timm", "b0", 7, 96, "onnx"),
    ("timm", "lite0", 2, 129, "tflite"),
    ("timm", "b1", 7, 64, "tflite"),
    ("timm-tf", "b0", 2, 129, "tflite"),
    ("timm-tf", "b2", 7, 97, "onnx"),
    ("timm-tf", "lite0", 7, 64, "tflite"),
    ("timm-tf", "lite3", 2, 97, "tflite"),
    ("torchvision", "b0", 2, 64, "tflite"),
    ("torchvision", "b1", 7, 97, "onnx"),
    ("torchvision", "b3", 2, 33, "tflite"),
    ("lukemelas", "b0", 7, 129, "tflite"),
    ("lukemelas", "b1", 2, 96, "onnx"),
    ("lukemelas", "lite0", 7, 97, "tflite"),
    ("lukemelas", "lite1", 2, 64, "onnx"),
]
#: What efficientnet-pytorch and the Lite packages are built for.
BUILT_FOR = {"b0": 224, "b1": 240, "lite0": 224, "lite1": 240}


def _errors(path: Path, state: Any, reference: Reference, size: int, **options: Any) -> float:
    export(state, path, image_size=size, **options)
    image = noise(3, size)
    return float(np.abs(run_file(path, image) - reference.logits(image)).max())


@pytest.mark.parametrize(("dialect", "variant", "classes", "size", "file_format"), CASES)
def test_parity_with_the_reference(
    dialect: str, variant: str, classes: int, size: int, file_format: str, tmp_path: Path
) -> None:
    state = make_state(dialect, variant, classes=classes)
    padding, eps = PADDING[dialect]
    reference = Reference(state, variant, padding=padding, eps=eps, built_for=BUILT_FOR.get(variant, 0))
    assert _errors(tmp_path / f"m.{file_format}", state, reference, size, source=dialect) <= TOLERANCE


@pytest.mark.parametrize("size", [64, 97])
def test_a_model_built_for_another_size_keeps_that_padding(size: int, tmp_path: Path) -> None:
    """97 built for 97 pads like 97; the default, 224, would pad the other way round."""
    state = make_state("lukemelas", "b0", classes=2)
    reference = Reference(state, "b0", padding="baked", eps=1e-3, built_for=97)
    assert _errors(tmp_path / "m.tflite", state, reference, size, padding_size=97) <= TOLERANCE
    other = Reference(state, "b0", padding="baked", eps=1e-3, built_for=224)
    image = noise(3, size)
    assert np.abs(run_file(tmp_path / "m.tflite", image) - other.logits(image)).max() > 10 * TOLERANCE


def test_the_two_timm_paddings_do_differ(tmp_path: Path) -> None:
    """Otherwise the parity cases couldn't tell them apart."""
    state, image = make_state("timm", "lite0", classes=2), noise(3, 64)
    for source in ("timm", "timm-tf"):
        export(state, tmp_path / f"{source}.tflite", source=source, image_size=64)
    first, second = (run_file(tmp_path / f"{source}.tflite", image) for source in ("timm", "timm-tf"))
    assert np.abs(first - second).max() > 100 * TOLERANCE


def test_a_dynamic_batch_in_onnx(tmp_path: Path) -> None:
    import onnxruntime

    state = make_state("timm", "lite0", classes=3)
    export(state, tmp_path / "m.onnx", source="timm", image_size=64)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    images = np.concatenate([noise(seed, 64) for seed in range(3)])
    together = session.run(None, {"image": images})[0]
    assert together.shape == (3, 3)
    for index in range(3):
        alone = session.run(None, {"image": images[index : index + 1]})[0][0]
        np.testing.assert_allclose(together[index], alone, atol=1e-5)


def test_weights_only_int8_stays_near_float(tmp_path: Path) -> None:
    """Per-channel int8 weights: about 1 % of the logits' spread for each layer's rounding, random signs."""
    state, image = make_state("timm-tf", "lite0", classes=7), noise(3, 64)
    for file_format in ("tflite", "onnx"):
        for precision in ("fp32", "weight-int8"):
            export(state, tmp_path / f"{precision}.{file_format}", source="timm-tf", image_size=64, precision=precision)
        exact, rounded = (
            run_file(tmp_path / f"{precision}.{file_format}", image) for precision in ("fp32", "weight-int8")
        )
        assert 0 < np.abs(exact - rounded).max() < 0.5 * exact.std()
        assert (tmp_path / f"weight-int8.{file_format}").stat().st_size < 0.3 * (
            tmp_path / f"fp32.{file_format}"
        ).stat().st_size
