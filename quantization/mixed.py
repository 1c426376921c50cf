"""Mixed precision: parts of blocks go back to float32 until a target holds.

The next part is the one that removes most noise from the logits for each microsecond it adds to an inference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from edge_effnet.network.graph import Activation, Conv2D, DepthwiseConv2D, Graph, Node
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.structure import Part, find_parts
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.records import Progress, QuantizedGraph

#: What float32 costs over int8, fitted to LiteRT on one x86 core with AVX-512 (68 parts of B0 and pairs of them, 65 µs
#: RMS of 40 to 1250): microseconds for each multiplication, for each value of a swish, and for each int8 value that is
#: read as float32; the way back costs next to nothing. Only ratios matter.
_US_PER_MAC, _US_PER_DEPTHWISE_MAC, _US_PER_SWISH, _US_PER_CONVERSION = 1.2e-5, 0.8e-5, 2.1e-4, 1.5e-4
#: Two parts side by side may cost less than one; a ratio needs more than nothing below the line.
_LEAST_COST_US = 5.0


@dataclass(frozen=True)
class Island:
    """Tensors that go back to float32 together: a block's expansion, its depthwise convolution with what follows up to
    the projection, the stem or the head."""

    name: str
    tensors: tuple[str, ...]


def find_islands(graph: Graph, activations: Mapping[str, QuantParams]) -> tuple[Island, ...]:
    """All there are, in the graph's order."""
    found = (Island(part.name, _kept(part, activations)) for part in find_parts(graph) if not part.joint)
    return tuple(island for island in found if island.tensors)


def _kept(part: Part, activations: Mapping[str, QuantParams]) -> tuple[str, ...]:
    return tuple(name for name in part.tensors if name in activations)


def float_tensors(graph: Graph, islands: Iterable[Island]) -> frozenset[str]:
    """The islands' tensors, and the joints between them whose writers and readers are all in float32."""
    inside = {tensor for island in islands for tensor in island.tensors}
    joints = [frozenset(part.tensors) for part in find_parts(graph) if part.joint]
    while True:
        floats = inside.union(*joints)
        at_border: set[str] = set()
        for node in graph.nodes:
            if node.name not in floats:
                at_border.update(node.inputs)
            elif not floats.issuperset(node.inputs):
                at_border.add(node.name)
        between = [tensors for tensors in joints if not tensors & at_border]
        if len(between) == len(joints):
            return frozenset(floats)
        joints = between


def cost_us(graph: Graph, activations: Mapping[str, QuantParams], floats: frozenset[str]) -> float:
    """About how many microseconds more an inference takes with these tensors in float32."""
    shapes = tensor_shapes(graph)
    integers = activations.keys() - floats
    total, converted = 0.0, set()
    for node in graph.nodes:
        if node.name in integers and all(name in integers for name in node.inputs):
            continue
        if not floats.intersection((node.name, *node.inputs)):
            continue  # float32 in any case
        total += _node_cost_us(node, math.prod(shapes[node.name]))
        converted |= integers.intersection(node.inputs)
    return total + _US_PER_CONVERSION * sum(math.prod(shapes[name]) for name in converted)


def _node_cost_us(node: Node, values: int) -> float:
    match node:
        case DepthwiseConv2D():
            return _US_PER_DEPTHWISE_MAC * values * math.prod(node.weight.shape[:2])
        case Conv2D():
            return _US_PER_MAC * values * math.prod(node.weight.shape[1:])
        case Activation(kind="swish"):
            return _US_PER_SWISH * values
    return 0.0


def with_floats(
    quantized: QuantizedGraph, floats: frozenset[str], correct: Callable[[Mapping[str, QuantParams]], Graph]
) -> QuantizedGraph:
    """The quantized graph with these tensors in float32, its biases corrected for what is still rounded."""
    activations = {name: params for name, params in quantized.activations.items() if name not in floats}
    before = quantized.summary or {}
    names = {*before.get("float_tensors", ()), *(floats & quantized.activations.keys())}
    summary = {**before, "float_tensors": sorted(names)}
    return replace(quantized, graph=correct(activations), activations=activations, summary=summary)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A quantization with some islands in float32. drop: what it loses, in points."""

    quantized: QuantizedGraph
    islands: tuple[Island, ...]
    drop: float


@dataclass(frozen=True, eq=False)
class Search:
    """Looks for the islands to return to float32.

    correct: the graph with biases for the activations given. harm: the logit noise power of a mixture. drop: what it
    loses, in points.
    """

    quantized: QuantizedGraph
    correct: Callable[[Mapping[str, QuantParams]], Graph]
    harm: Callable[[QuantizedGraph], float]
    drop: Callable[[QuantizedGraph], float]
    progress: Progress | None = None

    def until(self, max_drop: float) -> Mixture:
        """A mixture that loses at most `max_drop` points, with few islands in float32; else the one that loses least.

        Islands are added one by one, starting with none, until the target holds. Then each is left out again if the
        target holds without it.
        """
        worth = dict.fromkeys(find_islands(self.quantized.graph, self.quantized.activations), math.inf)
        most = len(worth)
        best = mixture = self._mix(())
        while mixture.drop > max_drop and worth:
            island = self._next(mixture, worth)
            del worth[island]
            mixture = self._mix((*mixture.islands, island))
            best = min(best, mixture, key=lambda found: found.drop)
            self._tell("max-drop", len(mixture.islands), most)
        if mixture.drop > max_drop:
            return best
        for island in mixture.islands[-2::-1]:  # the last one was needed
            fewer = self._mix(tuple(other for other in mixture.islands if other is not island))
            mixture = fewer if fewer.drop <= max_drop else mixture
        return mixture

    def _next(self, mixture: Mixture, worth: dict[Island, float]) -> Island:
        """The island that saves most noise per microsecond beside those in float32 already.

        worth: what each island saved when it was last tried; updated here. An island saves no more now than it did
        then, so only those at the top are tried again (lazy greedy search, M. Minoux, 1978).
        """
        noise, cost = self.harm(mixture.quantized), self._cost(mixture.islands)
        known: set[Island] = set()
        while (best := max(worth, key=worth.__getitem__)) not in known:
            islands = (*mixture.islands, best)
            worth[best] = (noise - self.harm(self._quantized(islands))) / max(
                self._cost(islands) - cost, _LEAST_COST_US
            )
            known.add(best)
            if not mixture.islands:
                self._tell("islands", len(known), len(worth))
        return best

    def _tell(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)

    def _mix(self, islands: tuple[Island, ...]) -> Mixture:
        quantized = self._quantized(islands)
        return Mixture(quantized, islands, self.drop(quantized))

    def _quantized(self, islands: tuple[Island, ...]) -> QuantizedGraph:
        return with_floats(self.quantized, float_tensors(self.quantized.graph, islands), self.correct)

    def _cost(self, islands: tuple[Island, ...]) -> float:
        return cost_us(self.quantized.graph, self.quantized.activations, float_tensors(self.quantized.graph, islands))
