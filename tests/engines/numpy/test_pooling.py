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
    draw_affine,
    draw_integers,
    fused,
    one_operator,
    run_numpy,
)

pytestmark = pytest.mark.litert


def mean(
    image: Array, source: Affine | None, target: Affine | None, *, keep: bool, axes: tuple[int, ...] = (1, 2)
) -> bytes:
    shape = [1 if index in axes else side for index, side in enumerate(image.shape) if keep or index not in axes]
    constants = [np.array(axes, np.int32)]
    options = schema.ReducerOptionsT(keepDims=keep)
    return one_operator(
        "MEAN", [(image, source)], (shape, image.dtype.name, target), options=options, constants=constants
    )


def halves(random: np.random.Generator, count: int, channels: int) -> Array:
    """int8[count, channels] whose column sums lie half way between two multiples of count: each mean is a tie."""
    image = random.integers(-60, 60, (count, channels))
    missing = count * random.integers(-50, 50, channels) + count // 2 - image.sum(axis=0)
    image += missing // count
    image += np.arange(count)[:, None] < missing % count
    return np.clip(image, -128, 127).astype(np.int8)


@pytest.mark.parametrize("keep", [True, False])
def test_int8_mean_is_bit_equal_even_in_ties(keep: bool) -> None:
    random = np.random.default_rng(1)
    for size in ((1, 1), (7, 7), (14, 14), (4, 9), (23, 2)):
        for same in (True, False):
            source = draw_affine(random)
            target = source if same else draw_affine(random)
            image = halves(random, size[0] * size[1], 96).reshape(1, *size, 96)
            assert_equal(mean(image, source, target, keep=keep), image)


def test_float32_mean() -> None:
    image = np.random.default_rng(2).standard_normal((1, 30, 31, 8), dtype=np.float32) + 5
    assert_close(mean(image, None, None, keep=False), image, tolerance=1e-5)


def test_mean_over_other_axes() -> None:
    image = np.random.default_rng(3).standard_normal((2, 3, 4, 5), dtype=np.float32)
    np.testing.assert_allclose(
        run_numpy(mean(image, None, None, keep=True, axes=(3,)), image),
        image.mean(axis=3, keepdims=True),
        rtol=1e-6,
        atol=1e-6,
    )
    with pytest.raises(EngineError, match=r"reduces axes \[4\] of \[2, 3, 4, 5\]; expected -4 to 3"):
        run_numpy(mean(image, None, None, keep=True, axes=(4,)), image)


POOLS: list[dict[str, Any]] = [
    {"size": 7, "kernel": 7, "stride": 1, "padding": "VALID"},
    {"size": 9, "kernel": 3, "stride": 2, "padding": "SAME"},
    {"size": 8, "kernel": 3, "stride": 2, "padding": "SAME"},
    {"size": 6, "kernel": 2, "stride": 2, "padding": "VALID"},
]


def pool(
    code: str,
    image: Array,
    affine: Affine | None,
    *,
    size: int,
    kernel: int,
    stride: int,
    padding: str,
    activation: str = "NONE",
) -> bytes:
    out = -(-size // stride) if padding == "SAME" else (size - kernel) // stride + 1
    options = schema.Pool2DOptionsT(
        padding=getattr(schema.Padding, padding),
        strideW=stride,
        strideH=stride,
        filterWidth=kernel,
        filterHeight=kernel,
        fusedActivationFunction=fused(activation),
    )
    return one_operator(
        code, [(image, affine)], ((1, out, out, image.shape[-1]), image.dtype.name, affine), options=options
    )


@pytest.mark.parametrize("window", POOLS, ids=str)
@pytest.mark.parametrize("code", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools(code: str, window: dict[str, Any]) -> None:
    random = np.random.default_rng(4)
    for dtype in ("int8", "uint8"):
        integers = draw_integers(random, (1, window["size"], window["size"], 13), dtype)
        assert_equal(pool(code, integers, draw_affine(random, dtype=dtype), **window), integers)
    floats = random.standard_normal((1, window["size"], window["size"], 13), dtype=np.float32)
    assert_close(pool(code, floats, None, activation="RELU", **window), floats, tolerance=1e-6)


def test_pools_keep_their_scale() -> None:
    image = np.zeros((1, 2, 2, 1), np.int8)
    options = schema.Pool2DOptionsT(padding=1, strideW=1, strideH=1, filterWidth=2, filterHeight=2)
    file = one_operator(
        "MAX_POOL_2D", [(image, Affine(0.1, 0))], ((1, 1, 1, 1), "int8", Affine(0.2, 0)), options=options
    )
    with pytest.raises(EngineError, match="changes scale or zero point"):
        run_numpy(file, image)


def test_a_window_larger_than_the_image() -> None:
    image = np.zeros((1, 2, 2, 1), np.float32)
    options = schema.Pool2DOptionsT(padding=1, strideW=1, strideH=1, filterWidth=3, filterHeight=3)
    with pytest.raises(EngineError, match=r"has a window of \[3, 3\] pixels on an input of 2×2"):
        run_numpy(one_operator("MAX_POOL_2D", [(image, None)], ((1, 1, 1, 1), "float32", None), options=options), image)


def test_mean_where_float32_factors_disagree() -> None:
    """Sums next to a half, chosen so that s_in / s_out / n and (s_in / s_out) · (1 / n) round them apart."""
    random = np.random.default_rng(1)
    compared = 0
    for _ in range(60):
        side = int(random.choice([7, 10, 14, 28]))
        count = side * side
        source = Affine(float(np.float32(random.uniform(0.004, 0.1))), int(random.integers(-128, 0)))
        target = Affine(float(np.float32(source.scale * random.uniform(0.1, 1))), int(random.integers(-128, 0)))
        sums = np.arange(-128 * count, 127 * count + 1)
        s_in, s_out, n = np.float32(source.scale), np.float32(target.scale), np.float32(count)
        rounded = [
            np.rint(
                sums.astype(np.float32) * f + (np.float32(target.zero_point) - np.float32(source.zero_point) * n * f)
            )
            for f in (s_in / s_out / n, s_in / s_out * (np.float32(1) / n), s_in / n / s_out)
        ]
        apart = sums[(np.clip(rounded, -128, 127) != np.clip(rounded[0], -128, 127)).any(axis=0)][:64]
        if not len(apart):
            continue
        whole, rest = np.divmod(apart, count)
        image = whole + (np.arange(count)[:, None] < rest)
        image = image.reshape(1, side, side, -1).astype(np.int8)
        assert_equal(mean(image, source, target, keep=True), image)
        compared += len(apart)
    assert compared > 5
