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
    fused,
    one_operator,
    run_numpy,
    tensor,
)

pytestmark = pytest.mark.litert
OPTIONS = {"ADD": schema.AddOptionsT, "SUB": schema.SubOptionsT, "MUL": schema.MulOptionsT}
LEFT, RIGHT = (pairs.reshape(1, 16, 16, 256) for pairs in np.meshgrid(EVERY_INT8, EVERY_INT8))


@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
@pytest.mark.parametrize("code", OPTIONS)
def test_every_pair_of_int8_is_bit_equal(code: str, activation: str) -> None:
    random = np.random.default_rng(1)
    for _ in range(6):
        left, right, out = (draw_affine(random, 0.01, 0.3) for _ in range(3))
        options = OPTIONS[code](fusedActivationFunction=fused(activation))
        assert_equal(
            one_operator(code, [(LEFT, left), (RIGHT, right)], (LEFT.shape, "int8", out), options=options), LEFT, RIGHT
        )


@pytest.mark.parametrize("code", OPTIONS)
@pytest.mark.parametrize(
    ("left", "right"),
    [((1, 9, 7, 40), (1, 1, 1, 40)), ((1, 1, 1, 8), (1, 5, 5, 8)), ((1, 6), (1, 6)), ((1, 1, 1, 1), (1, 1, 1, 1))],
)
def test_broadcasting(code: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    random = np.random.default_rng(2)
    shape = np.broadcast_shapes(left, right)
    floats = [random.standard_normal(side, dtype=np.float32) for side in (left, right)]
    assert_close(
        one_operator(
            code, [(array, None) for array in floats], (shape, "float32", None), options=OPTIONS[code](), version=1
        ),
        *floats,
        tolerance=1e-6,
    )
    integers = [draw_integers(random, side) for side in (left, right)]
    operands = [(array, draw_affine(random)) for array in integers]
    assert_equal(
        one_operator(code, operands, (shape, "int8", draw_affine(random, 0.05, 0.2)), options=OPTIONS[code]()),
        *integers,
    )


@pytest.mark.parametrize("code", ["ADD", "MUL"])
def test_uint8(code: str) -> None:
    random = np.random.default_rng(3)
    arrays = [draw_integers(random, (1, 8, 8, 9), "uint8") for _ in range(2)]
    operands = [(array, draw_affine(random, dtype="uint8")) for array in arrays]
    assert_equal(
        one_operator(
            code,
            operands,
            ((1, 8, 8, 9), "uint8", draw_affine(random, 0.02, 0.2, "uint8")),
            options=OPTIONS[code](),
            version=2,
        ),
        *arrays,
    )


def test_a_constant_operand() -> None:
    random = np.random.default_rng(4)
    image = draw_integers(random, (1, 6, 6, 8))

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, "int8", Affine(0.05, 3))
        factor = writer.constant(
            "factor", draw_integers(random, (1, 1, 1, 8)), scales=np.array([0.02], np.float32), zero_point=-7
        )
        target = tensor(writer, "out", image.shape, "int8", Affine(0.1, 1))
        writer.operator("MUL", [source, factor], target, version=2, options=schema.MulOptionsT())
        return {"image": source}, {"out": target}

    assert_equal(build(describe), image)


def test_factors_beyond_32_bits_are_refused() -> None:
    arrays = [np.zeros((1, 4), np.int8)] * 2
    file = one_operator(
        "ADD",
        [(array, Affine(1000.0, 0)) for array in arrays],
        ((1, 4), "int8", Affine(0.01, 0)),
        options=schema.AddOptionsT(),
    )
    with pytest.raises(EngineError, match=r"\(ADD\) scales its inputs by 1e\+05; expected 0.000977 to 256"):
        run_numpy(file, *arrays)


def test_mixed_types_are_refused() -> None:
    arrays = [np.zeros((1, 4), np.int8), np.zeros((1, 4), np.float32)]
    file = one_operator(
        "ADD", [(arrays[0], Affine(1.0, 0)), (arrays[1], None)], ((1, 4), "float32", None), options=schema.AddOptionsT()
    )
    with pytest.raises(
        EngineError,
        match="takes int8, float32 and gives float32, which the numpy engine can't compute; use --engine litert",
    ):
        run_numpy(file, *arrays)


def test_shapes_that_do_not_broadcast() -> None:
    arrays = [np.zeros((1, 4), np.float32), np.zeros((1, 5), np.float32)]
    file = one_operator(
        "ADD", [(array, None) for array in arrays], ((1, 4), "float32", None), options=schema.AddOptionsT()
    )
    with pytest.raises(EngineError, match=r"operator 0 \(ADD\): its tensors don't fit together"):
        run_numpy(file, *arrays)


def test_tanh_as_fused_activation_is_refused() -> None:
    arrays = [np.zeros((1, 4), np.float32)] * 2
    options = schema.AddOptionsT(fusedActivationFunction=fused("TANH"))
    with pytest.raises(
        EngineError, match="has the fused activation TANH; the numpy engine knows NONE, RELU, RELU6, RELU_N1_TO_1"
    ):
        run_numpy(
            one_operator("ADD", [(array, None) for array in arrays], ((1, 4), "float32", None), options=options),
            *arrays,
        )
