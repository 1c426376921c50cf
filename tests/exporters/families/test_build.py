"""From weights to the float graph: folding, layouts, and the reordering that changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.golden import make_state, noise

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.families.build import fold_batch_norm
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.exporters.order import order_channels
from edge_effnet.exporters.outputs.half import to_half
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Graph, weighted
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.rewrite import permute_block
from edge_effnet.network.structure import find_blocks


def graph_of(source: str, variant: str, size: int = 32) -> Graph:
    options = InputOptions(source=source, image_size=(size, size))
    return network_of(load_checkpoint(make_state(source, variant, classes=3)), options).graph


@pytest.fixture(scope="module", params=[("timm", "b0"), ("timm-tf", "lite0")])
def graph(request: pytest.FixtureRequest) -> Graph:
    return graph_of(*request.param)


def test_folding_is_batch_norm() -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((4, 3, 1, 1)).astype(np.float32)
    norm = {
        "weight": random.uniform(0.5, 2, 4),
        "bias": random.standard_normal(4),
        "running_mean": random.standard_normal(4),
        "running_var": random.uniform(0.1, 2, 4),
    }
    values = random.standard_normal(3)
    folded, bias = fold_batch_norm(weight, norm, 1e-3)
    assert folded.dtype == bias.dtype == np.float64
    exact = (weight[:, :, 0, 0] @ values - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-3) * norm[
        "weight"
    ] + norm["bias"]
    np.testing.assert_allclose(folded[:, :, 0, 0] @ values + bias, exact, rtol=1e-12)


def test_a_variance_of_zero_is_sound_and_a_negative_one_is_not() -> None:
    norm = {"weight": np.ones(1), "bias": np.zeros(1), "running_mean": np.zeros(1), "running_var": np.zeros(1)}
    assert fold_batch_norm(np.ones((1, 1)), norm, 1e-4)[0] == pytest.approx(100)
    with pytest.raises(CheckpointError, match="negative running variance; the checkpoint is broken"):
        fold_batch_norm(np.ones((1, 1)), {**norm, "running_var": np.array([-1e-6])}, 1e-3)


def test_names_shapes_and_types(graph: Graph) -> None:
    assert (graph.input_name, graph.output_name) == ("image", "logits")
    assert tensor_shapes(graph)["logits"] == (1, 3)
    assert all(
        node.weight.dtype == node.bias.dtype == np.float32 and node.weight.flags.c_contiguous
        for node in weighted(graph.nodes)
    )


def test_blocks_are_found(graph: Graph) -> None:
    blocks = find_blocks(graph)
    assert len(blocks) == 16
    assert blocks[0].expand.name == "stem"
    assert blocks[1].expand.name == "blocks.1.expand"
    assert all(block.depthwise is not None for block in blocks)
    assert len({len(block.gates) for block in blocks}) == 1


def test_permuting_a_blocks_channels_changes_nothing(graph: Graph) -> None:
    image = noise(0, 32).transpose(0, 2, 3, 1).astype(np.float64)
    expected = execute(graph, image)
    changed = graph
    for block in find_blocks(graph)[:3]:
        order = np.random.default_rng(1).permutation(block.channels)
        changed = permute_block(changed, replace(block), order)
    assert (changed.by_name()["stem"].weight != graph.by_name()["stem"].weight).any()  # type: ignore[union-attr]
    np.testing.assert_allclose(execute(changed, image), expected, rtol=1e-10)


def test_ordering_changes_nothing_and_is_deterministic(graph: Graph) -> None:
    image = noise(0, 32).transpose(0, 2, 3, 1).astype(np.float64)
    first, second = order_channels(graph), order_channels(graph)
    np.testing.assert_allclose(execute(first, image), execute(graph, image), rtol=1e-10)
    assert all((a.weight == b.weight).all() for a, b in zip(weighted(first.nodes), weighted(second.nodes), strict=True))


def test_ordering_is_the_same_whatever_order_the_channels_come_in(graph: Graph) -> None:
    changed = graph
    for block in find_blocks(graph):
        changed = permute_block(changed, block, np.random.default_rng(1).permutation(block.channels))
    once = order_channels(changed)
    for other in (order_channels(graph), order_channels(once)):
        for a, b in zip(weighted(once.nodes), weighted(other.nodes), strict=True):
            np.testing.assert_array_equal(a.weight, b.weight)
            np.testing.assert_array_equal(a.bias, b.bias)


def test_half_precision_saturates() -> None:
    assert to_half(np.array([1e6, -1e6, 1.0])).tolist() == [65504.0, -65504.0, 1.0]
