"""Tensors that stay float32 from the start, where next to nothing buys much.

The stem's sum before its activation: a flat background gives thousands of positions one value there, whose one rounding
error adds up over all of them. Convolution and activation are computed in float32, and their result becomes int8.

The last activation before the pooling: 49 pixels, read by a mean that is float32 anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge_effnet.network.graph import Activation, Border, Conv2D, GlobalMean, Graph, Node
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.structure import responses
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.measure.prices import noise_per_tile, pixels, tiles
from edge_effnet.quantization.state import Change, Stage, State, Work, known

#: What the stem in float32 costs more for each tile of its output, in a convolution's tiles; 4 % of B0's time on x86.
_TILES_PER_TILE = 0.75


def choose_floats(graph: Graph, found: Measurement) -> dict[str, float]:
    """Tensor that is better left in float32 → the logit noise power of its rounding."""
    noise, shapes = tensor_noise(graph, found.statistics, found.sensitivity), tensor_shapes(graph)
    per_tile = noise_per_tile(graph, sum(noise.values()))
    chosen = {name: noise[name] for name in _last(graph) if name in noise}
    for name in _stems(graph):
        if name in noise and noise[name] > _TILES_PER_TILE * pixels(shapes[name]) * tiles(shapes[name][3]) * per_tile:
            chosen[name] = noise[name]
    return chosen


def _stems(graph: Graph) -> Iterator[str]:
    """Unactivated convolutions of the image that an activation alone reads."""
    images, nodes = _images(graph), graph.by_name()
    for name, _ in responses(graph):
        node = nodes.get(name)
        if isinstance(node, Conv2D) and node.activation == "none" and images.issuperset(node.inputs):
            yield name


def _images(graph: Graph) -> frozenset[str]:
    borders = (node.name for node in graph.nodes if isinstance(node, Border) and graph.input_name in node.inputs)
    return frozenset({graph.input_name, *borders})


def _last(graph: Graph) -> Iterator[str]:
    """Activations that alone a mean without height and width reads."""
    readers = graph.consumers()
    for node in graph.nodes:
        if isinstance(node, Activation) and len(readers[node.name]) == 1 and _is_pooling(readers[node.name][0]):
            yield node.name


def _is_pooling(node: Node) -> bool:
    return isinstance(node, GlobalMean) and not node.keep_dims


def _run(state: State, _work: Work) -> State:
    preview = known(state.preview)
    chosen = choose_floats(state.graph, preview)
    left = {name: found for name, found in preview.statistics.items() if name not in chosen}
    log = tuple(Change("floats", name, gain) for name, gain in chosen.items())
    return replace(
        state,
        floats=state.floats.union(chosen),
        preview=replace(preview, statistics=left),
        before=state.before or preview,
        log=(*state.log, *log),
    )


STAGE = Stage("floats", lambda recipe: recipe.floats, frozenset({"preview"}), frozenset({"preview"}), _run)
