"""Lanes: the wide and the narrow channels of a block in tensors of their own, each with a scale of its own.

One int8 scale must serve all channels of a tensor. Before a swish a few channels reach ±110 where most stay within
±10, and no rescaling of channels passes through a swish. Splitting the block's inside by channels (two expand
convolutions, two depthwise ones, two gates; the projections added up) computes the same with the same arithmetic, and
lets each part have the scale it needs.

What a split costs is weighed against what it saves: each lane's projection is rounded by itself, and a lane's width is
padded to what the engines' kernels handle at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.blocks import Block, find_blocks
from edge_effnet.graph import Add, Conv2D, DepthwiseConv2D, GlobalMean, Graph, Mul, Node, Swish
from edge_effnet.quantization.noise import tensor_noise
from edge_effnet.quantization.prices import noise_per_tile, pixels, tiles
from edge_effnet.quantization.ranges import IDENTITY, find_responses, least_error, weighted_points
from edge_effnet.quantization.sensitivity import Sensitivity
from edge_effnet.quantization.statistics import TensorStatistics

Indices = npt.NDArray[np.int64]
#: Channels of each lane, widest lane first.
Lanes = tuple[frozenset[int], ...]

#: Widths tried for a new lane.
_WIDTHS = (8, 16, 32, 64, 128, 256, 384)
#: A third lane saves less than equalising a swish does, and costs more.
_MOST_LANES = 2
#: What one lane more costs for each pixel of a block's depthwise output, in tiles; measured on x86.
_TILES_PER_PIXEL = 0.68
#: Channels of two lanes that are tried in each other's place: at most, and how many comparisons with all channels.
_MOST_SWAPPED, _SWAPPED_CHANNELS = 16, 1024
_SWEEPS = 3


@dataclass(frozen=True, eq=False)
class LaneChoice:
    """A block worth splitting. lanes: channel indices of each lane, rising. gain: logit noise power saved, costs taken
    off.
    """

    block: str
    lanes: tuple[Indices, ...]
    gain: float

    @property
    def widths(self) -> tuple[int, ...]:
        """How many channels each lane has."""
        return tuple(len(lane) for lane in self.lanes)


def choose_lanes(
    graph: Graph, statistics: Mapping[str, TensorStatistics], sensitivity: Sensitivity, *, least_gain: float
) -> tuple[LaneChoice, ...]:
    """The best split of every block whose every lane gains at least `least_gain` (in logit noise power), most gain
    first.

    The product of a gate counts for nothing: rescaling the gate serves it better (`gates`).
    """
    noise = tensor_noise(graph, statistics, sensitivity)
    products = {node.name for node in graph.nodes if isinstance(node, Mul)}
    choices = []
    for block in find_blocks(graph):
        prices = _Prices(graph, block, noise)
        costs = [
            _Cost(statistics[name], name, graph, sensitivity)
            for name in _inner_tensors(graph, block)
            if name not in products
        ]
        lanes, gain = _best_split(block, costs, prices, least_gain)
        if len(lanes) > 1:
            choices.append(LaneChoice(block.name, tuple(np.array(sorted(lane)) for lane in lanes), gain))
    return tuple(sorted(choices, key=lambda choice: -choice.gain))


def _inner_tensors(graph: Graph, block: Block) -> list[str]:
    """Tensors as wide as the block's inside, from the expand convolution to the projection's input."""
    names = []
    reached = {block.expand.name}
    for node in graph.nodes:
        if node.name == block.expand.name or (
            node.inputs[0] in reached and isinstance(node, Swish | DepthwiseConv2D | Mul)
        ):
            reached.add(node.name)
            names.append(node.name)
    return names


class _Prices:
    """What a split of one block costs, in logit noise power: partial sums that are rounded, and time."""

    def __init__(self, graph: Graph, block: Block, noise: Mapping[str, float]) -> None:
        shapes = graph.shapes()
        self._partial = 2 * sum(noise.get(node.name, 0.0) for node in (block.project, block.reduce) if node is not None)
        self._per_tile = noise_per_tile(graph, sum(noise.values()))
        self._outside = pixels(shapes[block.depthwise.name])
        self._inside = (pixels(shapes[block.expand.name]) + self._outside) / 2
        self._tiles = tiles(block.channels)

    def of(self, lanes: Lanes) -> float:
        added = len(lanes) - 1
        work = (
            sum(tiles(len(lane)) for lane in lanes) - self._tiles
        ) * self._inside + added * _TILES_PER_PIXEL * self._outside
        return added * self._partial + work * self._per_tile


class _Cost:
    """Logit noise power of one tensor, for any of its channels as a tensor of their own."""

    def __init__(self, statistics: TensorStatistics, name: str, graph: Graph, sensitivity: Sensitivity) -> None:
        self._statistics = statistics
        self._response, reader = find_responses(graph).get(name, (IDENTITY, name))
        self._points = weighted_points(statistics, self._response, sensitivity[reader])
        self._known: dict[frozenset[int], float] = {}
        self.reach = np.maximum(-statistics.channel_low, statistics.channel_high)

    def of(self, lane: frozenset[int]) -> float:
        if lane not in self._known:
            chosen = np.zeros(len(self.reach), bool)
            chosen[list(lane)] = True
            low, high = (
                float(self._statistics.channel_low[chosen].min()),
                float(self._statistics.channel_high[chosen].max()),
            )
            self._known[lane] = least_error(self._points.of_channels(chosen), self._response, low, high)[2]
        return self._known[lane]


def _best_split(block: Block, costs: Sequence[_Cost], prices: _Prices, least_gain: float) -> tuple[Lanes, float]:
    """The lanes, and what they gain in all; one lane and 0 where no split gains enough."""

    def total(lanes: Lanes) -> float:
        return sum(cost.of(lane) for cost in costs for lane in lanes) + prices.of(lanes)

    lanes: Lanes = (frozenset(range(block.channels)),)
    whole = reached = total(lanes)
    while len(lanes) < _MOST_LANES and reached > least_gain:
        found = min(_with_one_more(lanes, costs), key=total, default=None)
        if found is None:
            break
        found = _swapped(found, costs, total)
        if reached - total(found) < max(least_gain, whole * 1e-9):
            break
        lanes, reached = found, total(found)
    return lanes, whole - reached


def _with_one_more(lanes: Lanes, costs: Sequence[_Cost]) -> Iterator[Lanes]:
    """Each lane cut in two, between wide and narrow channels: by the first tensor, by the last, and by both
    together.
    """
    first, last = costs[0].reach, costs[-1].reach
    together = np.maximum(first / np.median(first).clip(1e-9), last / np.median(last).clip(1e-9))
    for index, lane in enumerate(lanes):
        others = (*lanes[:index], *lanes[index + 1 :])
        members = np.array(sorted(lane))
        for reach in (first, last, together):
            order = members[np.argsort(-reach[members], kind="stable")].tolist()
            for width in _WIDTHS:
                if width > len(order) // 2:
                    break
                yield frozenset(order[:width]), frozenset(order[width:]), *others


def _swapped(lanes: Lanes, costs: Sequence[_Cost], total: Callable[[Lanes], float]) -> Lanes:
    """Pairs of channels exchanged between lanes as long as that helps: a wide channel of one tensor may be narrow in
    another.
    """
    reach = np.max([cost.reach / np.median(cost.reach).clip(1e-9) for cost in costs], axis=0)
    most = int(np.clip(_SWAPPED_CHANNELS // len(reach), 4, _MOST_SWAPPED))
    for _ in range(_SWEEPS):
        before = lanes
        for first in range(len(lanes)):
            for second in range(first + 1, len(lanes)):
                lanes = _swap_pairs(lanes, (first, second), reach, most, total)
        if lanes == before:
            break
    return lanes


def _swap_pairs(
    lanes: Lanes, which: tuple[int, int], reach: npt.NDArray[np.float64], most: int, total: Callable[[Lanes], float]
) -> Lanes:
    first, second = which
    best = total(lanes)
    small = sorted(lanes[first], key=lambda channel: (reach[channel], channel))[:most]
    large = sorted(lanes[second], key=lambda channel: (-reach[channel], channel))[:most]
    for one in small:
        for other in large:
            if one not in lanes[first] or other not in lanes[second]:
                continue
            changed = list(lanes)
            changed[first], changed[second] = lanes[first] - {one} | {other}, lanes[second] - {other} | {one}
            value = total(tuple(changed))
            if value < best * (1 - 1e-6):
                lanes, best = tuple(changed), value
    return lanes


def split_lanes(graph: Graph, choice: LaneChoice) -> Graph:
    """The same function with one block in lanes; raises KeyError when the graph has no such block."""
    block = {found.name: found for found in find_blocks(graph)}[choice.block]
    inner = {*_inner_tensors(graph, block), *_gate_path(graph, block)}
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _split(node, block, inner, choice.lanes)
    return replace(graph, nodes=tuple(nodes))


def split_statistics(
    graph: Graph, choice: LaneChoice, statistics: Mapping[str, TensorStatistics], sensitivity: Sensitivity
) -> tuple[dict[str, TensorStatistics], dict[str, npt.NDArray[np.float64]]]:
    """Both with the tensors added that `split_lanes` will give the graph, taken from those of the whole tensors."""
    block = {found.name: found for found in find_blocks(graph)}[choice.block]
    found, weights = dict(statistics), dict(sensitivity)
    for name in (*_inner_tensors(graph, block), *_gate_path(graph, block)):
        for index, lane in enumerate(choice.lanes):
            found[_lane(name, index)] = statistics[name].of_channels(lane)
            if name in sensitivity:
                weights[_lane(name, index)] = sensitivity[name][lane]
    return found, weights


def _gate_path(graph: Graph, block: Block) -> list[str]:
    """From the excitation's convolution to the gate that is multiplied with: as wide as the block's inside."""
    names = [] if block.excite is None else [block.excite.name]
    for node in graph.nodes:
        if names and node.inputs[0] == names[-1] and not isinstance(node, Mul):
            names.append(node.name)
    return names


def _lane(name: str, index: int) -> str:
    return f"{name}.lane{index}"


def _split(node: Node, block: Block, inner: set[str], lanes: tuple[Indices, ...]) -> list[Node]:
    if node.name in inner:
        return [_part(node, inner, index, channels) for index, channels in enumerate(lanes)]
    if isinstance(node, GlobalMean) and node.inputs[0] in inner:
        return [
            replace(node, name=_lane(node.name, index), inputs=(_lane(node.inputs[0], index),))
            for index in range(len(lanes))
        ]
    if isinstance(node, Conv2D) and node.name in (block.project.name, block.reduce.name if block.reduce else None):
        return _summed(node, lanes)
    return [node]


def _part(node: Node, inner: set[str], index: int, channels: Indices) -> Node:
    """One lane of a node whose channels are the block's."""
    inputs = tuple(_lane(name, index) if name in inner else name for name in node.inputs)
    changed = replace(node, name=_lane(node.name, index), inputs=inputs)  # type: ignore[arg-type]
    match changed:
        case Conv2D():
            return replace(changed, weight=np.ascontiguousarray(changed.weight[channels]), bias=changed.bias[channels])
        case DepthwiseConv2D():
            return replace(
                changed, weight=np.ascontiguousarray(changed.weight[:, :, channels]), bias=changed.bias[channels]
            )
        case _:
            return changed


def _summed(node: Conv2D, lanes: tuple[Indices, ...]) -> list[Node]:
    """A convolution over all channels as the sum of one over each lane; the first keeps the bias."""
    parts: list[Node] = []
    for index, channels in enumerate(lanes):
        bias = node.bias if index == 0 else np.zeros_like(node.bias)
        weight = np.ascontiguousarray(node.weight[..., channels])
        parts.append(
            replace(
                node, name=_lane(node.name, index), inputs=(_lane(node.inputs[0], index),), weight=weight, bias=bias
            )
        )
    total = parts[0].name
    sums: list[Node] = []
    for index, part in enumerate(parts[1:], 1):
        name = node.name if index == len(lanes) - 1 else f"{node.name}.sum{index}"
        sums.append(Add(name, (total, part.name)))
        total = name
    return [*parts, *sums]
