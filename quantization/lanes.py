"""Two lanes: the wide and the narrow channels of a block in tensors of their own, each with a scale of its own.

One int8 scale must serve all channels of a tensor. Before a swish a few channels reach ±110 where most stay within
±10, and no rescaling of channels passes through a swish. Splitting the block's inside by channels (two expand
convolutions, two depthwise ones, two gates; the projections added up) computes the same with the same arithmetic, and
lets each part have the scale it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.blocks import Block, find_blocks
from edge_effnet.graph import Add, Conv2D, DepthwiseConv2D, GlobalMean, Graph, Mul, Node, Swish
from edge_effnet.quantization.ranges import IDENTITY, SWISH, least_error, weighted_points
from edge_effnet.quantization.sensitivity import Sensitivity
from edge_effnet.quantization.statistics import TensorStatistics

Indices = npt.NDArray[np.int64]

#: Widths tried for the narrower lane: multiples of what the engines' kernels handle at once.
_WIDTHS = (8, 16, 32, 64, 128, 256, 384)


@dataclass(frozen=True, eq=False)
class LaneChoice:
    """A block worth splitting. wide, narrow: channel indices. gain: logit noise power that the split saves."""

    block: str
    wide: Indices
    narrow: Indices
    gain: float


def choose_lanes(graph: Graph, statistics: Mapping[str, TensorStatistics], sensitivity: Sensitivity, *, least_gain: float) -> tuple[LaneChoice, ...]:
    """The best split of every block whose gain is at least `least_gain` (in logit noise power), most gain first."""
    choices = [_best_split(graph, block, statistics, sensitivity, least_gain) for block in find_blocks(graph)]
    return tuple(sorted((choice for choice in choices if choice.gain > 0 and choice.gain >= least_gain), key=lambda choice: -choice.gain))


def _inner_tensors(graph: Graph, block: Block) -> list[str]:
    """Tensors as wide as the block's inside, from the expand convolution to the projection's input."""
    names = []
    reached = {block.expand.name}
    for node in graph.nodes:
        if node.name == block.expand.name or (node.inputs[0] in reached and isinstance(node, Swish | DepthwiseConv2D | Mul)):
            reached.add(node.name)
            names.append(node.name)
    return names


def _best_split(graph: Graph, block: Block, statistics: Mapping[str, TensorStatistics], sensitivity: Sensitivity, least_gain: float) -> LaneChoice:
    tensors = _inner_tensors(graph, block)
    costs = [_Cost(statistics[name], name, graph, sensitivity) for name in tensors]
    everything = np.arange(block.channels)
    whole = sum(cost.of(everything) for cost in costs)
    best = LaneChoice(block.name, everything, everything[:0], 0.0)
    if whole < least_gain:
        return best
    for order in _orders([statistics[name] for name in tensors]):
        for width in _WIDTHS:
            if width > block.channels // 2:
                break
            wide, narrow = np.sort(order[:width]), np.sort(order[width:])
            gain = whole - sum(cost.of(wide) + cost.of(narrow) for cost in costs)
            if gain > best.gain:
                best = LaneChoice(block.name, wide, narrow, gain)
    return best


def _orders(statistics: Sequence[TensorStatistics]) -> Iterator[Indices]:
    """Channels from wide to narrow: by the block's first tensor, by its last, and by both together."""
    first, last = (np.maximum(-found.channel_low, found.channel_high) for found in (statistics[0], statistics[-1]))
    together = np.maximum(first / np.median(first).clip(1e-9), last / np.median(last).clip(1e-9))
    for width in (first, last, together):
        yield np.argsort(-width, kind="stable")


class _Cost:
    """Logit noise power of one tensor, for any of its channels as a tensor of their own."""

    def __init__(self, statistics: TensorStatistics, name: str, graph: Graph, sensitivity: Sensitivity) -> None:
        swish = next((node.name for node in graph.nodes if isinstance(node, Swish) and node.inputs[0] == name), None)
        self._statistics = statistics
        self._response = SWISH if swish else IDENTITY
        self._points = weighted_points(statistics, self._response, sensitivity[swish or name])

    def of(self, channels: Indices) -> float:
        chosen = np.zeros(len(self._statistics.channel_low), bool)
        chosen[channels] = True
        low, high = float(self._statistics.channel_low[chosen].min()), float(self._statistics.channel_high[chosen].max())
        return least_error(self._points.of_channels(chosen), self._response, low, high)[2]


def split_lanes(graph: Graph, choice: LaneChoice) -> Graph:
    """The same function with one block in two lanes; raises KeyError when the graph has no such block."""
    block = {found.name: found for found in find_blocks(graph)}[choice.block]
    inner = set(_inner_tensors(graph, block))
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _split(node, block, inner, (choice.wide, choice.narrow))
    return replace(graph, nodes=tuple(nodes))


def _lane(name: str, index: int) -> str:
    return f"{name}.lane{index}"


def _split(node: Node, block: Block, inner: set[str], lanes: tuple[Indices, Indices]) -> list[Node]:
    if node.name in inner or _reads_gate(node, block):
        return [_part(node, inner, block, index, channels) for index, channels in enumerate(lanes)]
    if isinstance(node, GlobalMean) and node.inputs[0] in inner:
        return [replace(node, name=_lane(node.name, index), inputs=(_lane(node.inputs[0], index),)) for index in range(2)]
    if isinstance(node, Conv2D) and node.name in (block.project.name, block.reduce.name if block.reduce else None):
        return _summed(node, lanes)
    return [node]


def _reads_gate(node: Node, block: Block) -> bool:
    """The excitation's convolution and its sigmoid: as wide as the block's inside, but not made from it."""
    return block.excite is not None and block.excite.name in (node.name, *node.inputs[:1]) and node.name != block.project.name


def _part(node: Node, inner: set[str], block: Block, index: int, channels: Indices) -> Node:
    """One lane of a node whose channels are the block's."""
    wide = inner | ({block.excite.name} if block.excite else set())
    gates = {block.excite.name, block.excite.name.replace(".se.expand", ".se.gate")} if block.excite else set()
    inputs = tuple(_lane(name, index) if name in wide | gates else name for name in node.inputs)
    changed = replace(node, name=_lane(node.name, index), inputs=inputs)  # type: ignore[arg-type]
    match changed:
        case Conv2D():
            return replace(changed, weight=np.ascontiguousarray(changed.weight[channels]), bias=changed.bias[channels])
        case DepthwiseConv2D():
            return replace(changed, weight=np.ascontiguousarray(changed.weight[:, :, channels]), bias=changed.bias[channels])
        case _:
            return changed


def _summed(node: Conv2D, lanes: tuple[Indices, Indices]) -> list[Node]:
    """A convolution over all channels as the sum of two over a lane each; the first keeps the bias."""
    parts: list[Node] = []
    for index, channels in enumerate(lanes):
        bias = node.bias if index == 0 else np.zeros_like(node.bias)
        weight = np.ascontiguousarray(node.weight[..., channels])
        parts.append(replace(node, name=_lane(node.name, index), inputs=(_lane(node.inputs[0], index),), weight=weight, bias=bias))
    return [*parts, Add(node.name, (parts[0].name, parts[1].name))]
