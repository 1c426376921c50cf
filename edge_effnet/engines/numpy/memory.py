"""Where intermediate tensors lie: one block of memory, shared by tensors that are never alive at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """A tensor of `size` bytes is written in step `first` and last read in step `last`, both included."""

    first: int
    last: int
    size: int


@dataclass(frozen=True)
class Layout:
    """`offsets`: tensor → its first byte, a multiple of 64; `size`: bytes of the whole block."""

    offsets: Mapping[int, int]
    size: int


def plan(lifetimes: Mapping[int, Lifetime]) -> Layout:
    """Largest tensors first, each at the lowest place that is free during its whole life (TFLite's greedy-by-size
    planner).
    """
    offsets: dict[int, int] = {}
    for tensor in sorted(lifetimes, key=lambda index: (-lifetimes[index].size, index)):
        life = lifetimes[tensor]
        taken = sorted((offsets[other], lifetimes[other].size) for other in offsets if _overlap(life, lifetimes[other]))
        offsets[tensor] = _first_gap(taken, life.size)
    return Layout(offsets, max((offsets[tensor] + lifetimes[tensor].size for tensor in offsets), default=0))


def _overlap(left: Lifetime, right: Lifetime) -> bool:
    return left.first <= right.last and right.first <= left.last


def _first_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The lowest aligned offset with `size` free bytes; taken: (offset, size), sorted."""
    place = 0
    for offset, length in taken:
        if place + size <= offset:
            break
        place = max(place, -(-(offset + length) // _ALIGNMENT) * _ALIGNMENT)
    return place
