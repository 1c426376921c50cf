"""What a graph is made of, found whatever its nodes are called."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import (
    SIZE,
    float_graph,
    graph_of,
    inputs_of,
    narrow_state,
    photos,
    pointwise,
    relative_difference,
)

from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Conv2D, Graph
from edge_effnet.network.rewrite import fresh_name, renamed, split_block
from edge_effnet.network.structure import find_blocks, find_chains, find_gates, find_parts
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.recipe import Recipe

VARIANTS = ("b0", "lite0")


def shuffled_names(graph: Graph, seed: int) -> dict[str, str]:
    """Every node under a random name; image and logits keep theirs, which the files promise."""
    names = [node.name for node in graph.nodes if node.name != graph.output_name]
    drawn = np.random.default_rng(seed).choice(10**9, size=len(names), replace=False)
    return {name: f"t{number}" for name, number in zip(names, drawn, strict=True)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_do_not_matter_to_structure(variant: str) -> None:
    graph = float_graph(narrow_state(variant), variant)
    names = shuffled_names(graph, 1)
    other = renamed(graph, names)
    assert [tuple(names[tensor] for tensor in block.inner) for block in find_blocks(graph)] == [
        block.inner for block in find_blocks(other)
    ]
    assert [tuple(names[tensor] for tensor in chain.tensors) for chain in find_chains(graph)] == [
        chain.tensors for chain in find_chains(other)
    ]
    assert [(names[product.name], names[gate]) for product, gate in find_gates(graph)] == [
        (product.name, gate) for product, gate in find_gates(other)
    ]
    parts = [tuple(names.get(tensor, tensor) for tensor in part.tensors) for part in find_parts(graph)]
    assert parts == [part.tensors for part in find_parts(other)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_do_not_matter_to_quantization(variant: str) -> None:
    """Bit for bit, with lanes, equalised swishes and gates: `lanes` at 0 splits wherever anything is gained."""
    graph = float_graph(narrow_state(variant), variant)
    names = shuffled_names(graph, 2)
    drawn = draw_calibration_set(photos(3), Preprocessing(SIZE, SIZE), limit=3, seed=0)
    first, trace = quantize(graph, drawn, recipe=Recipe(lanes=0.0))
    second, _ = quantize(renamed(graph, names), drawn, recipe=Recipe(lanes=0.0))
    assert bool(trace.changes("lanes")) == (variant == "b0")
    assert list(first.activations.values()) == list(second.activations.values())
    for one, other in zip(first.weights.values(), second.weights.values(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.scales, other.scales)


def fused_network() -> Graph:
    """EfficientNetV2's beginning: a stem, a fused block k×k → 1×1 with its skip, and a head."""
    random = np.random.default_rng(0)

    def spatial(name: str, source: str, inputs: int, outputs: int, stride: int) -> Conv2D:
        weight = (random.standard_normal((outputs, 3, 3, inputs)) / (3 * inputs**0.5)).astype(np.float32)
        bias = (random.standard_normal(outputs) * 0.2).astype(np.float32)
        return Conv2D(name, (source,), weight, bias, stride, Padding(1, 1, 1, 1))

    return graph_of(
        [
            spatial("stem", "image", 3, 8, 2),
            Activation("stem.act", ("stem",), "swish"),
            pointwise("first", "stem.act", random, 8, 6),
            spatial("wide", "first", 6, 24, 1),
            Activation("wide.act", ("wide",), "swish"),
            pointwise("narrow", "wide.act", random, 24, 6),
            Add("sum", ("narrow", "first")),
            pointwise("head", "sum", random, 6, 16),
            Activation("head.act", ("head",), "swish"),
        ],
        channels=3,
        height=12,
        width=10,
    )


def test_a_fused_block_is_found_and_splits_exactly() -> None:
    graph = fused_network()
    blocks = {block.expand.name: block for block in find_blocks(graph)}
    assert set(blocks) == {"stem", "wide"}
    block = blocks["wide"]
    assert (block.depthwise, block.gates, block.inner, block.project.name) == (None, (), ("wide", "wide.act"), "narrow")
    order = np.random.default_rng(1).permutation(24)
    split = split_block(graph, block, [np.sort(order[:5]), np.sort(order[5:])])
    for image in inputs_of(graph, 2):
        assert relative_difference(execute(graph, image), execute(split, image)) < 1e-5
    assert [chain.tensors for chain in find_chains(graph)] == [("first", "narrow", "sum")]
    assert [part.name for part in find_parts(graph) if part.joint] == ["first", "narrow"]


def test_fresh_names_are_free() -> None:
    graph = fused_network()
    assert fresh_name(graph, "new") == "new"
    assert fresh_name(graph, "stem") == "stem.2"
