from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from engines.numpy.single import (
    EVERY_INT8,
    Affine,
    assert_close,
    assert_equal,
    build,
    draw_affine,
    one_operator,
    tensor,
)

pytestmark = pytest.mark.litert
ALL = EVERY_INT8.reshape(1, 1, 1, 256)
GATE = Affine(1 / 256, -128)
REALS = (
    np.concatenate([np.linspace(-12, 12, 500), [-1e4, 1e4, 0, -0.0, 88, -88, 3, -3]])
    .astype(np.float32)
    .reshape(1, 1, 4, 127)
)
OPTIONS = {
    "HARD_SWISH": schema.HardSwishOptionsT,
    "LEAKY_RELU": lambda: schema.LeakyReluOptionsT(alpha=0.2),
    "GELU": lambda: schema.GeluOptionsT(approximate=True),
}


def unary(code: str, source: Affine, target: Affine, dtype: str = "int8") -> bytes:
    array = ALL if dtype == "int8" else ALL.view(np.uint8)
    options = OPTIONS[code]() if code in OPTIONS else None
    return one_operator(
        code, [(array, source)], (ALL.shape, dtype, target), options=options, version=1 if code == "HARD_SWISH" else 2
    )


@pytest.mark.parametrize("code", ["LOGISTIC", "RELU", "RELU6", "HARD_SWISH"])
def test_every_int8_is_bit_equal(code: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(25):
        source = draw_affine(random, 0.005, 0.4)
        target = GATE if code == "LOGISTIC" else draw_affine(random)
        assert_equal(unary(code, source, target), ALL)


@pytest.mark.parametrize("code", ["LOGISTIC", "RELU", "RELU6", "HARD_SWISH", "LEAKY_RELU", "TANH", "GELU"])
def test_float32(code: str) -> None:
    options = OPTIONS[code]() if code in OPTIONS else None
    assert_close(
        one_operator(code, [(REALS, None)], (REALS.shape, "float32", None), options=options, version=1),
        REALS,
        tolerance=2e-6,
    )


def pair(array: Any, source: Affine | None, target: Affine | None, *, swapped: bool = False) -> bytes:
    dtype = array.dtype.name

    def describe(writer: Any) -> Any:
        image = tensor(writer, "image", array.shape, dtype, source)
        gate = tensor(writer, "gate", array.shape, dtype, GATE if source else None)
        out = tensor(writer, "out", array.shape, dtype, target)
        writer.operator("LOGISTIC", [image], gate, version=2)
        writer.operator(
            "MUL", [gate, image] if swapped else [image, gate], out, version=2, options=schema.MulOptionsT()
        )
        return {"image": image}, {"out": out}

    return build(describe)


@pytest.mark.parametrize("swapped", [False, True])
def test_logistic_and_mul_of_one_tensor(swapped: bool) -> None:
    random = np.random.default_rng(2)
    for _ in range(25):
        assert_equal(pair(ALL, draw_affine(random, 0.01, 0.5), draw_affine(random, 0.01, 0.2), swapped=swapped), ALL)
    assert_close(pair(REALS[..., :100], None, None, swapped=swapped), REALS[..., :100], tolerance=2e-6)


def test_a_gate_that_is_read_twice_is_made() -> None:
    """Squeeze-excitation's gate, or a network that gives the sigmoid as well: the two operators stay two."""
    image_affine, out_affine = Affine(0.05, -20), Affine(0.03, 5)

    def describe(writer: Any) -> Any:
        image = tensor(writer, "image", ALL.shape, "int8", image_affine)
        gate = tensor(writer, "gate", ALL.shape, "int8", GATE)
        product = tensor(writer, "product", ALL.shape, "int8", out_affine)
        out = tensor(writer, "out", ALL.shape, "int8", out_affine)
        writer.operator("LOGISTIC", [image], gate, version=2)
        writer.operator("MUL", [image, gate], product, version=2, options=schema.MulOptionsT())
        writer.operator("ADD", [product, gate], out, version=2, options=schema.AddOptionsT())
        return {"image": image}, {"out": out}

    assert_equal(build(describe), ALL)
