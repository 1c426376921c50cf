"""How much refinement fits into some minutes: told by the network's size, so that the result depends on no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_effnet.errors import UsageError
from edge_effnet.network.graph import Graph
from edge_effnet.network.operators import multiplications, tensor_shapes

#: Photos that a step learns from; photos that go through the network together, which bounds the memory.
BATCH, TOGETHER = 8, 2
#: Photos held out to judge by at most, and the least to calibrate on for which any are held out.
_MOST_HELD_OUT, _LEAST_PHOTOS = 32, 32
#: Judgements in a run.
_JUDGEMENTS = 8
#: Seconds of two cores (AMD EPYC, AVX-512) a photo and a thousand million multiplications, a thousand million numbers
#: in tensors, or a node, forwards and backwards through the int8 and the float network.
_SECONDS_PER_G_MULTIPLICATIONS, _SECONDS_PER_G_NUMBERS, _SECONDS_PER_NODE = 0.07, 4.0, 1e-4


@dataclass(frozen=True)
class Plan:
    """steps: of `BATCH` photos. judged_every: steps. held_out: photos of the first that are not learned from."""

    steps: int
    judged_every: int
    held_out: int


def plan(graph: Graph, *, minutes: float, photos: int) -> Plan:
    """What takes about so many minutes on two idle cores. photos: how many there are."""
    held_out = held_out_photos(photos)
    judging = _JUDGEMENTS * (held_out or photos) * photo_seconds(graph) / 3  # forwards alone
    steps = (60 * minutes - judging) / (BATCH * photo_seconds(graph))
    return plan_steps(max(1, round(steps)), photos=photos)


def plan_steps(steps: int, *, photos: int) -> Plan:
    """So many steps. Raises UsageError."""
    if steps < 1:
        raise UsageError(f"refinement of {steps} steps; expected at least 1")
    return Plan(steps, math.ceil(steps / _JUDGEMENTS), held_out_photos(photos))


def held_out_photos(photos: int) -> int:
    """An eighth of the photos; none of a few, which are then judged by what was learned from."""
    return min(_MOST_HELD_OUT, photos // 8) if photos >= _LEAST_PHOTOS else 0


def photo_seconds(graph: Graph) -> float:
    """Seconds that learning from one photo takes on two idle cores."""
    shapes = tensor_shapes(graph)
    products = sum(multiplications(node, shapes[node.name]) for node in graph.nodes)
    numbers = sum(math.prod(shapes[node.name]) for node in graph.nodes)
    computing = 1e-9 * (_SECONDS_PER_G_MULTIPLICATIONS * products + _SECONDS_PER_G_NUMBERS * numbers)
    return computing + _SECONDS_PER_NODE * len(graph.nodes)
