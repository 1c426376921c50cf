"""TFLite's rules for integer operators, in every int8 file we make (TFLite's quantization specification; contract,
Files).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.formats import TfliteFile, read_model_file

pytestmark = pytest.mark.litert

#: Operator → the axis of its weights' scales.
AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}


def weighted(file: TfliteFile) -> Iterator[tuple[Any, Any, Any, Any]]:
    """(operator, input, weight, bias) of those computed in int8."""
    for step in file.operators:
        if step.code in AXES and file.tensors[step.outputs[0]].dtype == "int8":
            yield step, *(file.tensors[index] for index in step.inputs)


def values(tensor: Any, dtype: str) -> Any:
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def test_pixels_in_and_float_logits_out(int8_tflite: TfliteFile) -> None:
    image, logits = int8_tflite.tensors[int8_tflite.inputs[0]], int8_tflite.tensors[int8_tflite.outputs[0]]
    assert (image.name, image.dtype, image.shape) == ("image", "uint8", (1, 64, 64, 3))
    assert (logits.name, logits.dtype, logits.shape) == ("logits", "float32", (1, 3))
    assert (len(int8_tflite.inputs), len(int8_tflite.outputs), int8_tflite.subgraphs) == (1, 1, 1)


def test_weights_are_symmetric_per_channel(int8_tflite: TfliteFile) -> None:
    steps = list(weighted(int8_tflite))
    assert len(steps) >= {"lite0": 49, "b0": 81}[int8_tflite.document.variant]  # type: ignore[union-attr]
    for step, _, weight, _ in steps:
        axis = AXES[step.code]
        assert weight.dtype == "int8"
        assert weight.quantized_dimension == axis
        assert len(weight.scales) == weight.shape[axis]
        assert not weight.zero_points.any()
        assert values(weight, "int8").min() >= -127
        assert (weight.scales > 0).all()
        assert np.isfinite(weight.scales).all()


def test_the_largest_weight_of_a_channel_takes_the_whole_range(int8_tflite: TfliteFile) -> None:
    for step, _, weight, _ in weighted(int8_tflite):
        integers = np.moveaxis(values(weight, "int8"), AXES[step.code], 0).reshape(len(weight.scales), -1)
        largest = np.abs(integers.astype(int)).max(axis=1)
        assert not (
            (largest > 0) & (largest < 64)
        ).any()  # rounding for the output moves a weight by a few steps at most


def test_biases_have_the_product_of_both_scales(int8_tflite: TfliteFile) -> None:
    for _, source, weight, bias in weighted(int8_tflite):
        assert bias.dtype == "int32"
        np.testing.assert_allclose(bias.scales, source.scales[0] * weight.scales.astype(np.float64), rtol=1e-6)
        assert not bias.zero_points.any()
        assert np.abs(values(bias, "<i4").astype(np.int64)).max() <= 2**29


def test_activations_have_one_scale_and_fixed_ones_where_the_kernels_want_them(int8_tflite: TfliteFile) -> None:
    made = {index: step.code for step in int8_tflite.operators for index in step.outputs}
    for index, code in made.items():
        tensor = int8_tflite.tensors[index]
        if tensor.dtype == "int8":
            assert len(tensor.scales) == 1
            assert tensor.scales[0] > 0
            assert code != "LOGISTIC" or (tensor.scales[0], tensor.zero_points[0]) == (np.float32(1 / 256), -128)
    for step in int8_tflite.operators:
        if step.code in ("PAD", "CONCATENATION") and int8_tflite.tensors[step.outputs[0]].dtype == "int8":
            source = next(
                int8_tflite.tensors[index] for index in step.inputs if int8_tflite.tensors[index].dtype == "int8"
            )
            target = int8_tflite.tensors[step.outputs[0]]
            assert (source.scales[0], source.zero_points[0]) == (target.scales[0], target.zero_points[0])


def test_everything_but_the_ends_is_integer(int8_tflite: TfliteFile) -> None:
    floats = {step.code for step in int8_tflite.operators if int8_tflite.tensors[step.outputs[0]].dtype == "float32"}
    assert floats <= {"DEQUANTIZE", "LOGISTIC", "MUL", "MEAN", "FULLY_CONNECTED"}
    activated = [step for step in int8_tflite.operators if step.code in ("LOGISTIC", "MUL")]
    in_float = [step for step in activated if int8_tflite.tensors[step.outputs[0]].dtype == "float32"]
    assert len(in_float) in (0, 2)  # the last swish, before a mean in float


def test_an_all_zero_channel_has_a_scale(int8_files: dict[str, Path]) -> None:
    file = read_model_file(int8_files["timm-b0.tflite"])
    assert isinstance(file, TfliteFile)
    zero = [
        weight.scales[channel]
        for step, _, weight, _ in weighted(file)
        for channel, integers in enumerate(np.moveaxis(values(weight, "int8"), AXES[step.code], 0))
        if not integers.any()
    ]
    assert len(zero) >= 4
    assert min(zero) > 1e-7


def test_equal_statistics_are_the_inputs_scale(int8_files: dict[str, Path]) -> None:
    """Lite: (x - 127.5) / 127.5 by the way to int8 alone, up to the half pixel that the bias takes."""
    file = read_model_file(int8_files["timm-tf-lite0.tflite"])
    assert isinstance(file, TfliteFile)
    image = file.tensors[file.inputs[0]]
    assert image.scales[0] == pytest.approx(1 / 127.5)
    assert image.zero_points[0] in (127, 128)
    assert [step.code for step in file.operators][:3] == ["DEQUANTIZE", "QUANTIZE", "CONV_2D"]


def test_onnx_takes_pixels_and_quantizes_around_every_convolution(int8_files: dict[str, Path]) -> None:
    file = read_model_file(int8_files["timm-b0.onnx"])
    assert (file.input.name, file.input.dtype, file.input.shape) == ("image", "uint8", (None, 3, 64, 64))
    assert (file.output.name, file.output.dtype, file.output.shape) == ("logits", "float32", (None, 3))
    counts = file.operators_by_precision()
    assert counts["int8"]["Conv"] >= 81
    assert "Conv" not in counts["float32"]
