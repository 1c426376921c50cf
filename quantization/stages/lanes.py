"""Lanes: the wide and the narrow channels of a block in tensors of their own, each with a scale of its own.

One int8 scale must serve all channels of a tensor. Before a swish a few channels reach ±110 where most stay within
±10, and no rescaling of channels passes through a swish. Splitting the block's inside by channels (two expand
convolutions, two depthwise ones, two gates; the projections added up) computes the same with the same arithmetic, and
lets each part have the scale it needs.

A split also costs something, and is done only where it saves more: each lane's projection is rounded separately, which
adds noise, and kernels work on several channels at once, so a lane whose width isn't a multiple of that wastes time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import IDENTITY
from edge_effnet.network.graph import Graph, Mul
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.rewrite import lane_names, split_block
from edge_effnet.network.structure import Block, find_blocks
from edge_effnet.quantization.measure.noise import tensor_noise
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.measure.prices import noise_per_tile, pixels, tiles
from edge_effnet.quantization.measure.sensitivity import Sensitivity
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.stages.ranges import find_responses, least_error, weighted_points
from edge_effnet.quantization.state import Change, Stage, State, Work, known

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
    """A block worth splitting. lanes: channel indices of each lane, rising. gain: logit noise saved, less costs."""

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
    """The best split of each block, where each further lane gains at least `least_gain` (logit noise power).

    Blocks with most gain stand first. Products of gates aren't counted: rescaling the gate does more for them
    (`gates`).
    """
    noise = tensor_noise(graph, statistics, sensitivity)
    counted = statistics.keys() - {node.name for node in graph.nodes if isinstance(node, Mul)}
    choices = []
    for block in find_blocks(graph):
        prices = _Prices(graph, block, noise)
        costs = [_Cost(statistics[name], name, graph, sensitivity) for name in block.inner if name in counted]
        lanes, gain = _best_split(block, costs, prices, least_gain)
        if len(lanes) > 1:
            choices.append(LaneChoice(block.name, tuple(np.array(sorted(lane)) for lane in lanes), gain))
    return tuple(sorted(choices, key=lambda choice: -choice.gain))


class _Prices:
    """What a split of one block costs, in logit noise power: partial sums that are rounded, and time."""

    def __init__(self, graph: Graph, block: Block, noise: Mapping[str, float]) -> None:
        shapes = tensor_shapes(graph)
        summed = (block.project, *(gate.reduce for gate in block.gates))
        self._partial = 2 * sum(noise.get(node.name, 0.0) for node in summed)
        self._per_tile = noise_per_tile(graph, sum(noise.values()))
        self._outside = pixels(shapes[block.inner[-1]])
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
    return split_block(graph, _block(graph, choice), choice.lanes)


def split_statistics(graph: Graph, choice: LaneChoice, before: Measurement) -> Measurement:
    """What was measured, with the tensors that `split_lanes` will give the graph in the place of the whole ones."""
    statistics, sensitivity = before.statistics, before.sensitivity
    found, weights = dict(statistics), dict(sensitivity)
    for name, parts in lane_names(graph, _block(graph, choice), len(choice.lanes)).items():
        for own, lane in zip(parts, choice.lanes, strict=True):
            if name in statistics:
                found[own] = statistics[name].of_channels(lane)
            if name in sensitivity:
                weights[own] = sensitivity[name][lane]
        found.pop(name, None)
        weights.pop(name, None)
    return Measurement(found, weights, {})


def split_names(graph: Graph, choice: LaneChoice, names: frozenset[str]) -> frozenset[str]:
    """The tensors as `split_lanes` will call them."""
    parts = lane_names(graph, _block(graph, choice), len(choice.lanes))
    return frozenset(own for name in names for own in parts.get(name, (name,)))


def _block(graph: Graph, choice: LaneChoice) -> Block:
    return {found.name: found for found in find_blocks(graph)}[choice.block]


def _run(state: State, work: Work) -> State:
    preview, graph = known(state.preview), state.graph
    least = (work.recipe.lanes or 0.0) * sum(tensor_noise(graph, preview.statistics, preview.sensitivity).values())
    log, floats = [], state.floats
    for choice in choose_lanes(graph, preview.statistics, preview.sensitivity, least_gain=least):
        preview, floats = split_statistics(graph, choice, preview), split_names(graph, choice, floats)
        graph = split_lanes(graph, choice)
        log.append(Change("lanes", choice.block, choice.gain, {"widths": list(choice.widths)}))
    return replace(state.rewritten(graph, preview, *log), floats=floats)


STAGE = Stage("lanes", lambda recipe: recipe.lanes is not None, frozenset({"preview"}), frozenset({"preview"}), _run)
