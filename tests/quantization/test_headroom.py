"""The int8 path can't overflow: worst sums against a slow reference, the largest layers there are, and the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.formats import read_tflite
from edge_effnet.network.graph import Conv2D, DepthwiseConv2D, Graph
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.headroom import ACCUMULATOR_LIMIT, check_headroom, largest_sum
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight
from edge_effnet.quantization.rounding import weight_scales
from edge_effnet.variants import VARIANTS

INT32 = np.iinfo(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-127, 127), min_size=1, max_size=5), st.integers(INT32.min, INT32.max), st.integers(-128, 127)
)
def test_the_largest_sum_bounds_every_partial_sum(row: list[int], bias: int, zero_point: int) -> None:
    """Reference: each weight against both ends of the input, added up in any order from the bias on."""
    found = largest_sum(np.array([row], np.int8), np.array([bias], np.int32), QuantParams(0.1, zero_point))
    worst = abs(bias)
    for sign in (1, -1):
        total = bias
        for weight in row:
            total += max((sign * weight * (value - zero_point) for value in (-128, 127)), default=0) * sign
            worst = max(worst, abs(total))
    assert worst <= found <= abs(bias) + sum(map(abs, row)) * 255


def layer(weights: int, bias: float) -> QuantizedGraph:
    node = Conv2D("wide", ("image",), np.ones((1, 1, 1, weights), np.float32), np.array([bias], np.float32))
    graph = Graph("image", (1, 1, 1, weights), (node,), ("wide",))
    stored = QuantizedWeight(np.full((1, 1, 1, weights), 127, np.int8), np.array([1.0], np.float32))
    return QuantizedGraph(graph, {"image": QuantParams(1.0, -128), "wide": QuantParams(1.0, 0)}, {"wide": stored})


def test_a_layer_that_could_overflow_is_named() -> None:
    most = ACCUMULATOR_LIMIT // (127 * 255)
    found = check_headroom(layer(most, 0.0))
    assert found is not None
    assert (found.layer, found.largest) == ("wide", most * 127 * 255)
    with pytest.raises(
        CheckpointError,
        match=r"layer wide: its int32 sums could reach 2,14\d,\d+,\d+, more than 2,147,483,647; export it in float",
    ):
        check_headroom(layer(most + 1, 0.0))
    with pytest.raises(CheckpointError, match="layer wide"):
        check_headroom(layer(most, 40_000.0))
    with pytest.raises(CheckpointError, match="layer wide"):
        check_headroom(layer(1, 1e30))  # saturates at 2^31 - 1


def test_float_networks_have_none() -> None:
    made = layer(3, 0.0)
    assert check_headroom(QuantizedGraph(made.graph)) is None


def test_depthwise_weights_are_counted_a_channel() -> None:
    node = DepthwiseConv2D("dw", ("image",), np.ones((3, 3, 2), np.float32), np.zeros(2, np.float32))
    values = np.zeros((3, 3, 2), np.int8)
    values[..., 1] = 127
    stored = QuantizedWeight(values, np.ones(2, np.float32))
    found = check_headroom(
        QuantizedGraph(
            Graph("image", (1, 3, 3, 2), (node,), ("dw",)),
            {"image": QuantParams(1, 127), "dw": QuantParams(1, 0)},
            {"dw": stored},
        )
    )
    assert found is not None
    assert found.largest == 9 * 127 * 255


@pytest.mark.parametrize("name", VARIANTS)
def test_no_variant_can_overflow_whatever_its_weights(name: str) -> None:
    """All weights at 127, all inputs at the far end, the bias at the most that `weight_scales` lets it be (2^29)."""
    variant = VARIANTS[name]
    body = body_of(FAMILIES[variant.family], width=variant.width, depth=variant.depth)
    fan_in = max(int(np.prod(layer.shape[1:])) for layer in body.layers)
    fan_in = max(fan_in, body.head)
    assert fan_in * 127 * 255 + (1 << 29) < ACCUMULATOR_LIMIT
    node = Conv2D("x", ("image",), np.full((1, 1, 1, fan_in), 1e-9, np.float32), np.array([1e9], np.float32))
    scale = float(weight_scales(node, 0.01)[0])
    assert abs(1e9 / (0.01 * scale)) <= (1 << 29) * 1.000001


def test_the_bundled_model_read_from_its_file() -> None:
    """Weights, biases and zero points as an engine sees them."""
    file = read_tflite(Path(BUNDLED_MODEL))
    largest = 0
    for operator in file.operators:
        if operator.code in ("CONV_2D", "DEPTHWISE_CONV_2D") and file.tensors[operator.outputs[0]].dtype == "int8":
            source, weight, bias = (file.tensors[index] for index in operator.inputs)
            rows = (
                weight.values().reshape(weight.shape[0], -1)
                if operator.code == "CONV_2D"
                else weight.values().reshape(-1, weight.shape[3]).T
            )
            largest = max(
                largest,
                largest_sum(rows, bias.values(), QuantParams(float(source.scales[0]), int(source.zero_points[0]))),
            )
    assert 1 << 20 < largest < ACCUMULATOR_LIMIT
