from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.errors import EngineError
from engines.numpy.single import (
    Affine,
    Array,
    assert_close,
    assert_equal,
    build,
    draw_affine,
    draw_integers,
    fused,
    run_numpy,
    tensor,
)

pytestmark = pytest.mark.litert


def dense(
    rows: Array,
    weight: Array,
    bias: Array | None,
    source: Affine | None,
    target: Affine | None,
    *,
    scales: Array | None = None,
    **options: Any,
) -> bytes:
    def describe(writer: Any) -> Any:
        given = tensor(writer, "rows", rows.shape, rows.dtype.name, source)
        stored = writer.constant("weight", weight, **({} if scales is None else {"scales": scales}))
        inputs = [given, stored]
        if bias is not None:
            inputs.append(
                writer.constant(
                    "bias", bias, **({} if source is None else {"scales": np.float32(source.scale) * scales})
                )
            )
        out = tensor(writer, "out", (rows.size // weight.shape[1], weight.shape[0]), rows.dtype.name, target)
        writer.operator("FULLY_CONNECTED", inputs, out, version=4, options=schema.FullyConnectedOptionsT(**options))
        return {"rows": given}, {"out": out}

    return build(describe)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_int8_is_bit_equal(per_channel: bool, activation: str) -> None:
    random = np.random.default_rng(1)
    for depth in (1, 33, 600):
        rows = draw_integers(random, (1, depth))
        weight = np.maximum(draw_integers(random, (21, depth)), -127).astype(np.int8)
        scales = random.uniform(0.0005, 0.02, 21 if per_channel else 1).astype(np.float32)
        bias = random.integers(-9000, 9000, 21).astype(np.int32)
        target = draw_affine(random, 0.1, 2)
        assert_equal(
            dense(
                rows,
                weight,
                bias,
                draw_affine(random),
                target,
                scales=scales,
                fusedActivationFunction=fused(activation),
            ),
            rows,
        )


@pytest.mark.parametrize("with_bias", [True, False])
def test_float32(with_bias: bool) -> None:
    random = np.random.default_rng(2)
    rows = random.standard_normal((3, 50), dtype=np.float32)
    weight = random.standard_normal((7, 50), dtype=np.float32)
    bias = random.standard_normal(7, dtype=np.float32) if with_bias else None
    assert_close(dense(rows, weight, bias, None, None, fusedActivationFunction=fused("RELU")), rows, tolerance=2e-5)


def test_images_are_flattened() -> None:
    random = np.random.default_rng(3)
    image = random.standard_normal((1, 2, 2, 5), dtype=np.float32)
    assert_close(
        dense(image, random.standard_normal((4, 20), dtype=np.float32), np.zeros(4, np.float32), None, None),
        image,
        tolerance=1e-5,
    )


def test_float_rows_on_int8_weights_are_refused() -> None:
    """Dynamic range files; their rounding depends on each input."""
    rows = np.zeros((1, 4), np.float32)
    file = dense(rows, np.zeros((2, 4), np.int8), None, None, None, scales=np.full(2, 0.1, np.float32))
    with pytest.raises(EngineError, match=r"\(FULLY_CONNECTED\) takes float32, int8 and gives float32"):
        run_numpy(file, rows)


def test_shuffled_weights_are_refused() -> None:
    rows = np.zeros((1, 4), np.float32)
    with pytest.raises(EngineError, match=r"has SHUFFLED4x16INT8 weights \[2, 4\]; expected DEFAULT"):
        run_numpy(dense(rows, np.zeros((2, 4), np.float32), None, None, None, weightsFormat=1), rows)


def test_a_bias_of_the_wrong_length() -> None:
    rows = np.zeros((1, 4), np.float32)
    with pytest.raises(EngineError, match=r"has the bias float32\[3\]; expected float32\[2\]"):
        run_numpy(dense(rows, np.zeros((2, 4), np.float32), np.zeros(3, np.float32), None, None), rows)
