from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.errors import EngineError
from engines.numpy.single import (
    EVERY_INT8,
    Affine,
    assert_close,
    assert_equal,
    build,
    draw_affine,
    draw_integers,
    one_operator,
    run_numpy,
    tensor,
)

pytestmark = pytest.mark.litert
ALL = EVERY_INT8.reshape(1, 1, 1, 256)
BYTES = np.arange(256, dtype=np.uint8).reshape(ALL.shape)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantize_from_float(dtype: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(10):
        target = draw_affine(random, dtype=dtype)
        halves = (np.arange(-300, 300) + 0.5) * target.scale
        values = (
            np.concatenate([halves, random.normal(0, 5, 400), [1e30, -1e30]]).astype(np.float32).reshape(1, 1, 2, -1)
        )
        assert_equal(
            one_operator(
                "QUANTIZE",
                [(values, None)],
                (values.shape, dtype, target),
                options=schema.QuantizeOptionsT(),
                version=1,
            ),
            values,
        )


def test_quantize_between_scales() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        file = one_operator(
            "QUANTIZE",
            [(ALL, draw_affine(random))],
            (ALL.shape, "int8", draw_affine(random)),
            options=schema.QuantizeOptionsT(),
        )
        assert_equal(file, ALL)


def test_quantize_pixels() -> None:
    """uint8 to int8 of one scale: the input of this project's int8 files; between scales it's TFLite's kernel."""
    random = np.random.default_rng(3)
    shifted = one_operator(
        "QUANTIZE",
        [(BYTES, Affine(0.02, 128))],
        (BYTES.shape, "int8", Affine(0.02, 0)),
        options=schema.QuantizeOptionsT(),
    )
    np.testing.assert_array_equal(assert_equal(shifted, BYTES).reshape(-1), EVERY_INT8)
    for _ in range(20):
        operands = [(BYTES, draw_affine(random, dtype="uint8"))]
        assert_equal(
            one_operator(
                "QUANTIZE", operands, (BYTES.shape, "int8", draw_affine(random)), options=schema.QuantizeOptionsT()
            ),
            BYTES,
        )
    for _ in range(20):
        operands = [(ALL, draw_affine(random))]
        assert_equal(
            one_operator(
                "QUANTIZE",
                operands,
                (ALL.shape, "uint8", draw_affine(random, dtype="uint8")),
                options=schema.QuantizeOptionsT(),
            ),
            ALL,
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantize(dtype: str) -> None:
    array = ALL if dtype == "int8" else BYTES
    affine = draw_affine(np.random.default_rng(4), dtype=dtype)
    assert_equal(
        one_operator(
            "DEQUANTIZE", [(array, affine)], (array.shape, "float32", None), options=schema.DequantizeOptionsT()
        ),
        array,
    )


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_widened_weights(stored: str) -> None:
    """A constant behind DEQUANTIZE is widened once, when the file is opened."""
    random = np.random.default_rng(5)
    image = random.standard_normal((1, 20), dtype=np.float32)

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, "float32", None)
        if stored == "float16":
            small = writer.constant("small", random.standard_normal((6, 20)).astype(np.float16))
        else:
            small = writer.constant(
                "small", draw_integers(random, (6, 20)), scales=random.uniform(0.01, 0.1, 6).astype(np.float32)
            )
        weight = writer.operator(
            "DEQUANTIZE",
            [small],
            tensor(writer, "weight", (6, 20), "float32", None),
            version=3,
            options=schema.DequantizeOptionsT(),
        )
        bias = writer.constant("bias", np.arange(6, dtype=np.float32))
        out = tensor(writer, "out", (1, 6), "float32", None)
        writer.operator(
            "FULLY_CONNECTED", [source, weight, bias], out, version=1, options=schema.FullyConnectedOptionsT()
        )
        return {"image": source}, {"out": out}

    assert_close(build(describe), image, tolerance=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_softmax(dtype: str) -> None:
    random = np.random.default_rng(6)
    for _ in range(10):
        if dtype == "float32":
            values = random.normal(0, 5, (1, 40)).astype(np.float32)
            file = one_operator(
                "SOFTMAX",
                [(values, None)],
                (values.shape, dtype, None),
                options=schema.SoftmaxOptionsT(beta=1.0),
                version=1,
            )
            assert_close(file, values, tolerance=1e-6)
            continue
        integers = draw_integers(random, (1, 40), dtype)
        target = Affine(1 / 256, np.iinfo(dtype).min)
        operands = [(integers, draw_affine(random, 0.005, 0.3, dtype))]
        assert_equal(
            one_operator(
                "SOFTMAX",
                operands,
                (integers.shape, dtype, target),
                options=schema.SoftmaxOptionsT(beta=1.0),
                version=1,
            ),
            integers,
        )


def test_quantize_to_other_types_is_refused() -> None:
    values = np.zeros((1, 4), np.int32)
    file = one_operator(
        "QUANTIZE", [(values, Affine(0.1, 0))], ((1, 4), "int32", Affine(0.1, 0)), options=schema.QuantizeOptionsT()
    )
    with pytest.raises(EngineError, match=r"\(QUANTIZE\) takes int32 and gives int32"):
        run_numpy(file, values)
