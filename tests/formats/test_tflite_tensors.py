from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.tflite import read_tflite

pytestmark = pytest.mark.litert
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
Repack = Callable[..., bytes]


def _tensor(model: Any, name: bytes) -> Any:
    return next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == name)


def _change(name: bytes, **fields: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for field, value in fields.items():
            setattr(_tensor(model, name), field, value)

    return change


def _quantization(name: bytes, **fields: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for field, value in fields.items():
            setattr(_tensor(model, name).quantization, field, value)

    return change


def _shorter(model: Any) -> None:
    buffer = model.buffers[_tensor(model, b"stem/bias").buffer]
    buffer.data = buffer.data[:-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change(b"stem", type=77), r"tensor \d+ 'stem' has the unknown type 77; expected 0 to 22"),
        (_change(b"stem", shape=[1, -1, 4, 8]), r"'stem' has the shape \[1, -1, 4, 8\]; expected sides of at least 0"),
        (
            _change(b"stem", shape=[65536, 65536]),
            r"'stem' has the shape \[65536, 65536\]; expected sides of at least 0 and at most 2147483648",
        ),
        (_change(b"stem", shape=[1] * 33), "has 33 numbers; at most 32 are expected"),
        (_change(b"stem", shapeSignature=[-1]), r"'stem' has the shape \[1, 16, 16, 8\] but the signature \[-1\]"),
        (_change(b"stem", shapeSignature=[-2, 16, 16, 8]), r"but the signature \[-2, 16, 16, 8\]"),
        (_change(b"stem", buffer=9999), r"'stem' is in buffer 9999; the file has \d+ buffers"),
        (_shorter, r"'stem/bias' is int32\[8\] and needs 32 bytes, but the file holds 31"),
        (_quantization(b"stem", scale=[0.1, 0.2]), "'stem' has 2 scales and 1 zero points"),
        (
            _quantization(b"stem/weight/int8", scale=[0.1] * 3, zeroPoint=[0] * 3),
            r"has 3 scales along axis 0 of \[8, 3, 3, 3\]",
        ),
        (_quantization(b"stem/weight/int8", quantizedDimension=4), r"has 8 scales along axis 4 of \[8, 3, 3, 3\]"),
        (_quantization(b"stem/weight/int8", quantizedDimension=-1), "has 8 scales along axis -1"),
        (_quantization(b"stem", scale=[float("nan")]), "'stem' has scales that are negative, NaN or infinite"),
        (_quantization(b"stem", scale=[float("inf")]), "'stem' has scales that are negative, NaN or infinite"),
        (
            _quantization(b"stem/weight/int8", scale=[0.1] * 7 + [float("nan")]),
            "has scales that are negative, NaN or infinite",
        ),
        (_quantization(b"stem/weight/int8", scale=[0.1] * 7 + [-0.1]), "has scales that are negative, NaN or infinite"),
        (_quantization(b"stem", zeroPoint=[128]), "'stem' has zero points from 128 to 128; int8 holds -128 to 127"),
        (_quantization(b"stem/weight/int8", zeroPoint=[0] * 7 + [-129]), "has zero points from -129 to 0"),
    ],
)
def test_broken_tensors(repack: Repack, change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_tflite(repack(change))


def test_values_in_another_file(repack: Repack) -> None:
    if not hasattr(schema.TensorT(), "externalBuffer"):
        pytest.skip("this ai-edge-litert's schema has no external buffers")
    with pytest.raises(ModelFileError, match="'stem' has its values in another file"):
        read_tflite(repack(_change(b"stem", externalBuffer=1)))


def test_free_sides(repack: Repack) -> None:
    found = read_tflite(repack(_change(b"image", shapeSignature=[-1, 32, 32, 3])))
    assert found.input.shape == (None, 32, 32, 3)
    assert found.tensors[found.inputs[0]].shape == (1, 32, 32, 3)


@pytest.mark.parametrize("missing", ["scale", "zeroPoint"])
def test_half_a_quantization_is_none(repack: Repack, missing: str) -> None:
    tensors = read_tflite(repack(_quantization(b"stem", **{missing: None}))).tensors
    found = next(tensor for tensor in tensors if tensor.name == "stem")
    assert len(found.scales) == len(found.zero_points) == 0


def test_one_scale_for_an_axis(repack: Repack) -> None:
    tensors = read_tflite(repack(_quantization(b"stem/weight/int8", scale=[0.5], zeroPoint=[0]))).tensors
    assert next(tensor for tensor in tensors if tensor.name == "stem/weight/int8").scales.tolist() == [0.5]


def test_types_that_numpy_lacks(repack: Repack) -> None:
    def change(model: Any) -> None:
        tensor = _tensor(model, b"stem/weight/int8")
        tensor.type, tensor.quantization = schema.TensorType.INT4, None
        buffer = model.buffers[tensor.buffer]
        buffer.data = buffer.data[: len(buffer.data) // 2]

    found = next(tensor for tensor in read_tflite(repack(change)).tensors if tensor.name == "stem/weight/int8")
    assert found.dtype == "int4"
    with pytest.raises(ModelFileError, match="holds int4, which numpy can't view; use another engine"):
        found.values()


def test_sparse_values(repack: Repack) -> None:
    tensors = read_tflite(repack(_change(b"stem/weight/int8", sparsity=schema.SparsityParametersT()))).tensors
    with pytest.raises(ModelFileError, match="holds sparse int8, which numpy can't view"):
        next(tensor for tensor in tensors if tensor.name == "stem/weight/int8").values()


def test_values_of_what_is_computed(int8_tflite: bytes) -> None:
    found = read_tflite(int8_tflite)
    with pytest.raises(ModelFileError, match="'logits' has no values in the file; it's computed when the model runs"):
        found.tensors[found.outputs[0]].values()
    constant = next(tensor for tensor in found.tensors if tensor.data is not None)
    with pytest.raises(ModelFileError, match=r"is \w+\[7\] but has \d+ bytes"):
        replace(constant, shape=(7,)).values()
    assert np.shares_memory(constant.values(), np.frombuffer(int8_tflite, np.uint8))
