from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.engines.numpy.linear import linear
from edge_effnet.engines.numpy.operands import Node, Operand
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


def convolution(
    random: np.random.Generator,
    image: Array,
    *,
    out: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "SAME",
    activation: str = "NONE",
    multiplier: int = 0,
    output: Affine | None = None,
    scales: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
) -> bytes:
    """multiplier: of a depthwise convolution, 0 for a full one. A float file where `output` is None."""
    channels = image.shape[-1]
    shape = (1, kernel, kernel, channels * multiplier) if multiplier else (out, kernel, kernel, channels)
    integer = output is not None
    affine = draw_affine(random, dtype=image.dtype.name) if integer else None
    if weight is None:
        weight = (
            random.integers(-127, 128, shape).astype(np.int8)
            if integer
            else random.standard_normal(shape, dtype=np.float32)
        )
    scales = random.uniform(0.0005, 0.02, out).astype(np.float32) if scales is None else scales
    if bias is None:
        bias = (
            random.integers(-20000, 20000, out).astype(np.int32)
            if integer
            else random.standard_normal(out, dtype=np.float32)
        )
    span = dilation * (kernel - 1) + 1
    sides = [-(-side // stride) if padding == "SAME" else (side - span) // stride + 1 for side in image.shape[1:3]]

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, image.dtype.name, affine)
        quantized = {"scales": scales, "axis": 3 if multiplier else 0} if integer else {}
        stored = writer.constant("weight", weight, **quantized)
        summand = writer.constant("bias", bias, **({"scales": scales * np.float32(affine.scale)} if affine else {}))
        target = tensor(writer, "out", (image.shape[0], *sides, out), image.dtype.name, output)
        common = {
            "padding": getattr(schema.Padding, padding),
            "strideW": stride,
            "strideH": stride,
            "dilationWFactor": dilation,
            "dilationHFactor": dilation,
            "fusedActivationFunction": fused(activation),
        }
        options = (
            schema.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **common)
            if multiplier
            else schema.Conv2DOptionsT(**common)
        )
        writer.operator(
            "DEPTHWISE_CONV_2D" if multiplier else "CONV_2D",
            [source, stored, summand],
            target,
            version=3,
            options=options,
        )
        return {"image": source}, {"out": target}

    return build(describe)


GEOMETRIES = [
    {"kernel": 1},
    {"kernel": 1, "stride": 2},
    {"kernel": 3, "stride": 2},
    {"kernel": 5, "stride": 2, "padding": "VALID"},
    {"kernel": 3, "dilation": 2},
    {"kernel": 3, "activation": "RELU6"},
    {"kernel": 5, "activation": "RELU"},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("multiplier", [0, 1, 3])
def test_int8_is_bit_equal(geometry: dict[str, Any], multiplier: int) -> None:
    random = np.random.default_rng(1)
    for channels, size in ((3, 9), (17, 12)):
        image = draw_integers(random, (1, size, size + 1, channels))
        file = convolution(
            random,
            image,
            out=channels * multiplier or 11,
            multiplier=multiplier,
            output=draw_affine(random, 0.1, 1),
            **geometry,
        )
        found = assert_equal(file, image)
        assert len(np.unique(found)) > 5


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("multiplier", [0, 1, 2])
def test_float32(geometry: dict[str, Any], multiplier: int) -> None:
    random = np.random.default_rng(2)
    image = random.standard_normal((2, 11, 8, 6), dtype=np.float32)
    file = convolution(random, image, out=6 * multiplier or 5, multiplier=multiplier, **geometry)
    assert_close(file, image, tolerance=2e-5)


def test_everything_saturates() -> None:
    random = np.random.default_rng(3)
    image = draw_integers(random, (1, 8, 8, 16))
    found = assert_equal(convolution(random, image, out=9, output=Affine(1e-4, 5)), image)
    assert set(np.unique(found)) <= {-128, 127}


def test_ties_round_to_even() -> None:
    """Identity weights and a factor of exactly a half: x/2 lies between two integers for every odd x."""
    image = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, "int8", Affine(0.25, 0))
        weight = writer.constant("weight", np.ones((1, 1, 1, 1), np.int8), scales=np.array([1.0], np.float32))
        bias = writer.constant("bias", np.zeros(1, np.int32), scales=np.array([0.25], np.float32))
        target = tensor(writer, "out", image.shape, "int8", Affine(0.5, 1))
        options = schema.Conv2DOptionsT(padding=1, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)
        writer.operator("CONV_2D", [source, weight, bias], target, version=3, options=options)
        return {"image": source}, {"out": target}

    found = assert_equal(build(describe), image)
    np.testing.assert_array_equal(found.reshape(-1), np.rint(np.arange(-128, 128) / 2) + 1)


def test_sums_that_float32_does_not_hold() -> None:
    """2,048 products of 127 and 128 pass 2^25: such an operator is summed in float64."""
    random = np.random.default_rng(5)
    image = np.full((1, 2, 2, 2048), 127, np.int8)
    image[0, 0] -= random.integers(0, 2, 2048).astype(np.int8)
    weight = np.full((4, 1, 1, 2048), 127, np.int8)
    weight[:, 0, 0, 0] = (1, 2, 3, 4)
    file = convolution(
        random, image, out=4, kernel=1, weight=weight, output=Affine(40.0, 0), scales=np.full(4, 0.001, np.float32)
    )
    assert_equal(file, image)


def test_huge_biases_of_dead_channels() -> None:
    random = np.random.default_rng(6)
    image = draw_integers(random, (1, 5, 5, 8))
    bias = np.array([1 << 30, -(1 << 29) + 1, 12345, 0], np.int32)
    scales = np.array([1e-9, 1e-8, 0.001, 0.01], np.float32)
    file = convolution(random, image, out=4, bias=bias, scales=scales, output=Affine(0.01, -3))
    assert_equal(file, image)


def test_uint8_files_of_older_converters() -> None:
    """Asymmetric uint8 weights, one scale and zero point for all of them."""
    random = np.random.default_rng(7)
    image = draw_integers(random, (1, 7, 7, 13), "uint8")
    weight = draw_integers(random, (6, 3, 3, 13), "uint8")

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, "uint8", Affine(0.02, 117))
        stored = writer.constant("weight", weight, scales=np.array([0.01], np.float32), zero_point=133)
        bias = writer.constant("bias", np.arange(6, dtype=np.int32) * 100, scales=np.array([0.0002], np.float32))
        target = tensor(writer, "out", (1, 7, 7, 6), "uint8", Affine(0.25, 100))
        options = schema.Conv2DOptionsT(
            padding=0,
            strideW=1,
            strideH=1,
            dilationWFactor=1,
            dilationHFactor=1,
            fusedActivationFunction=fused("RELU6"),
        )
        writer.operator("CONV_2D", [source, stored, bias], target, version=3, options=options)
        return {"image": source}, {"out": target}

    assert_equal(build(describe), image)


def test_grouped_convolutions_are_refused() -> None:
    random = np.random.default_rng(8)
    image = random.standard_normal((1, 4, 4, 4), dtype=np.float32)
    weight = random.standard_normal((4, 1, 1, 2), dtype=np.float32)
    with pytest.raises(
        EngineError, match=r"operator 0 \(CONV_2D\) has weights for 2 channels on an input of 4; grouped"
    ):
        run_numpy(convolution(random, image, out=4, kernel=1, weight=weight), image)


def test_the_type_of_the_sums_follows_the_weights() -> None:
    def dtype(depth: int) -> str:
        def operand(name: str, values: Array | None, shape: tuple[int, ...], kind: str, scale: float) -> Operand:
            return Operand(name, shape, kind, np.array([scale], np.float32), np.zeros(1, np.int64), 0, values)

        weight = np.full((1, 1, 1, depth), 127, np.int8)
        inputs = (operand("x", None, (1, 1, 1, depth), "int8", 0.1), operand("w", weight, weight.shape, "int8", 0.1))
        node = Node("CONV_2D", {}, inputs, operand("y", None, (1, 1, 1, 1), "int8", 1.0), "here")
        return linear(node, channel_axis=0).weight.dtype.name

    assert dtype(1032) == "float32"  # 1,032 · 127 · 128 = 16,776,192 < 2^24
    assert dtype(1033) == "float64"
