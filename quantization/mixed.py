"""Mixed precision: returning the insides of blocks to float32, most harm per microsecond first, until a target holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Conv2D, DepthwiseConv2D, Graph, weighted
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.execute import execute
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.simulate import simulate

Inputs = Iterable[npt.NDArray[np.float32]]

#: What float32 costs over int8, fitted to LiteRT on one x86 core with AVX-512 (B0: 11.2 against 5.6 ms): microseconds
#: for each multiplication, and for each value of a tensor. Only ratios between blocks matter.
_US_PER_MAC = 1.0e-5
_US_PER_VALUE = 1.5e-4


@dataclass(frozen=True)
class Island:
    """Tensors that go back to float32 together: the inside of a block, or stem or head.

    harm: logit noise power that rounding these tensors alone causes; cost_us: what float32 costs more.
    """

    name: str
    tensors: tuple[str, ...]
    harm: float
    cost_us: float


def find_islands(graph: Graph, activations: Mapping[str, QuantParams], inputs: Callable[[], Inputs]) -> tuple[Island, ...]:
    """All candidates, most harm per microsecond first; harms are simulated on the photos that `inputs` gives."""
    groups: dict[str, list[str]] = {}
    for node in graph.nodes:
        name = _island_name(node.name)
        if name and node.name in activations:
            groups.setdefault(name, []).append(node.name)
    reference = [execute(graph, image) for image in inputs()]
    found = [Island(name, tuple(tensors), _harm(graph, activations, tensors, inputs(), reference), _cost(graph, tensors)) for name, tensors in groups.items()]
    return tuple(sorted(found, key=lambda island: -island.harm / island.cost_us))


def _island_name(tensor: str) -> str | None:
    """The part of the network a tensor is inside of; None for bottlenecks, which stay int8 between islands."""
    parts = tensor.split(".")
    if parts[0] in ("stem", "head"):
        return parts[0]
    inner = len(parts) > 2 and parts[0] == "blocks" and parts[2] not in ("project", "add")
    return ".".join(parts[:2]) if inner else None


def _harm(graph: Graph, activations: Mapping[str, QuantParams], tensors: Iterable[str], inputs: Inputs, reference: list[npt.NDArray[np.float32]]) -> float:
    alone = QuantizedGraph(graph, {name: activations[name] for name in tensors})
    return float(np.mean([np.square(simulate(alone, image) - exact).sum() for image, exact in zip(inputs, reference, strict=True)]))


def _cost(graph: Graph, tensors: Iterable[str]) -> float:
    shapes, chosen = graph.shapes(), set(tensors)
    values = sum(math.prod(shapes[name]) for name in chosen)
    macs = 0
    for node in weighted(graph.nodes):
        if node.name in chosen and isinstance(node, Conv2D | DepthwiseConv2D):
            macs += math.prod(shapes[node.name]) * (node.weight.size // len(node.bias))
    return _US_PER_MAC * macs + _US_PER_VALUE * values


def with_floats(quantized: QuantizedGraph, islands: Iterable[Island], correct: Callable[[Mapping[str, QuantParams]], Graph]) -> QuantizedGraph:
    """The quantized graph with the islands' tensors in float32, its biases corrected for what is still rounded."""
    floats = {name for island in islands for name in island.tensors}
    activations = {name: params for name, params in quantized.activations.items() if name not in floats}
    summary = {**(quantized.summary or {}), "float_tensors": sorted(floats)}
    return replace(quantized, graph=correct(activations), activations=activations, summary=summary)


def until_target(
    quantized: QuantizedGraph,
    islands: Iterable[Island],
    correct: Callable[[Mapping[str, QuantParams]], Graph],
    drop: Callable[[QuantizedGraph], float],
    *,
    max_drop: float,
) -> Iterator[tuple[QuantizedGraph, tuple[Island, ...], float]]:
    """(graph, islands in float, drop in points) from all-integer on, one island more each time, until `max_drop` holds."""
    chosen: list[Island] = []
    for island in (None, *islands):
        if island is not None:
            chosen.append(island)
        mixed = with_floats(quantized, chosen, correct)
        found = drop(mixed)
        yield mixed, tuple(chosen), found
        if found <= max_drop:
            return
