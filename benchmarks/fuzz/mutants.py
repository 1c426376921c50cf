"""Damaged copies of a file, each made again from its number alone.

Most damage falls on structure: the bytes that aren't values of a large weight. There, aligned words of a flatbuffer are
offsets, lengths, indices, sides and scales; in protobuf they are tags and lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import TfliteFile, read_model_file
from edge_effnet.formats.protobuf import DELIMITED, spans

#: Values of a weight longer than this are no structure.
_SMALL_BYTES = 64
_WORDS = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
_SMALL_STEPS = (-4, -2, -1, 1, 2, 4)
_LONGEST_SPLICE = 4096


@dataclass(frozen=True, eq=False)
class Seed:
    """A sound file. structure: positions that aren't values of large weights; lengths: positions of protobuf's
    lengths.
    """

    name: str
    data: bytes
    structure: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def from_file(cls, name: str, data: bytes) -> Seed:
        """Finds out where the structure lies."""
        file = read_model_file(data)
        if isinstance(file, TfliteFile):
            own = [
                memoryview(part).cast("B")
                for tensor in file.tensors
                for part in (tensor.data or b"", _raw(tensor.scales), _raw(tensor.zero_points))
            ]
            views = [view for view in own if len(view) > _SMALL_BYTES]
            return cls(
                name,
                data,
                _outside(data, [(_address(view) - _address(data), len(view)) for view in views]),
                np.empty(0, np.int64),
            )
        places, values = _protobuf(memoryview(data), 0, len(data), depth=0)
        return cls(name, data, _outside(data, [(start, end - start) for start, end in values]), np.array(places))


def _outside(data: bytes, values: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Positions of the file that no (position, length) covers."""
    structure = np.ones(len(data), bool)
    for start, size in values:
        structure[start : start + size] = False
    return np.flatnonzero(structure)


def _raw(values: npt.NDArray[Any]) -> memoryview | bytes:
    return values.data if values.size else b""


def _address(data: bytes | memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).__array_interface__["data"][0])


def _protobuf(data: memoryview, start: int, end: int, *, depth: int) -> tuple[list[int], list[tuple[int, int]]]:
    """(positions of tags and lengths, ranges of long values that are no message)."""
    places: list[int] = []
    values: list[tuple[int, int]] = []
    try:
        fields = list(spans(data, start, end, name="seed"))
    except ModelFileError:
        return [], [(start, end)] if end - start > _SMALL_BYTES else []
    for opening, first, content, stop in fields:
        places.append(first)
        if opening & 7 == DELIMITED:
            places.append(max(content - 1, first))
            if depth < 5 and stop > content:
                inner = _protobuf(data, content, stop, depth=depth + 1)
                places += inner[0]
                values += inner[1]
    return places, values


Damage = Callable[[bytearray, Seed, np.random.Generator, Sequence[Seed]], None]


def _place(seed: Seed, random: np.random.Generator) -> int:
    """Three of four times a byte of the structure."""
    if random.integers(4):
        return int(seed.structure[random.integers(len(seed.structure))])
    return int(random.integers(len(seed.data)))


def _flip(data: bytearray, seed: Seed, random: np.random.Generator, _others: Sequence[Seed]) -> None:
    for _ in range(int(random.choice((1, 1, 2, 4, 16)))):
        data[_place(seed, random)] ^= 1 << int(random.integers(8))


def _bytes(data: bytearray, seed: Seed, random: np.random.Generator, _others: Sequence[Seed]) -> None:
    for _ in range(int(random.integers(1, 4))):
        data[_place(seed, random)] = int(random.choice(_EXTREMES))


def _truncate(data: bytearray, seed: Seed, random: np.random.Generator, _others: Sequence[Seed]) -> None:
    at = _place(seed, random) if random.integers(2) else int(random.integers(len(data)))
    if random.integers(4):
        del data[at:]
    else:
        data[at:] = bytes(len(data) - at)  # as a file system leaves a file whose end was never written


def _splice(data: bytearray, seed: Seed, random: np.random.Generator, others: Sequence[Seed]) -> None:
    source = others[int(random.integers(len(others)))]
    size = int(random.integers(1, _LONGEST_SPLICE))
    start = _place(source, random)
    piece = source.data[start : start + size]
    at = _place(seed, random)
    kind = int(random.integers(4))
    data[at : at + (0, len(piece), len(piece), size)[kind]] = b"" if kind == 3 else piece


def _offset(data: bytearray, seed: Seed, random: np.random.Generator, _others: Sequence[Seed]) -> None:
    """An offset, length or count becomes another: far off, near by, or one that stands elsewhere in the file."""
    if len(seed.lengths):
        at = int(seed.lengths[random.integers(len(seed.lengths))])
        data[at] = (
            (data[at] + int(random.choice(_SMALL_STEPS))) & 0xFF if random.integers(2) else int(random.integers(256))
        )
        return
    for _ in range(int(random.integers(1, 3))):
        at, other = (_place(seed, random) & ~3 for _ in range(2))
        choice = int(random.integers(4))
        if choice == 0:
            value = int(random.choice(_WORDS))
        elif choice == 1:
            value = int.from_bytes(data[at : at + 4], "little") + int(random.choice(_SMALL_STEPS))
        elif choice == 2:
            value = int.from_bytes(data[other : other + 4], "little")
        else:
            value = int(random.integers(len(data)))
        _put(data, at, (value & 0xFFFFFFFF).to_bytes(4, "little"))


def _scalar(data: bytearray, seed: Seed, random: np.random.Generator, _others: Sequence[Seed]) -> None:
    """Sides, indices, strides, enumerations and vtable entries: small numbers become other small numbers."""
    for _ in range(int(random.integers(1, 3))):
        width = int(random.choice((1, 2, 4)))
        at = _place(seed, random) // width * width
        value = int.from_bytes(data[at : at + width], "little")
        value = (value + int(random.choice(_SMALL_STEPS)), value * 2, 0, -1)[int(random.integers(4))]
        _put(data, at, (value & ((1 << 8 * width) - 1)).to_bytes(width, "little"))


def _put(data: bytearray, at: int, value: bytes) -> None:
    size = min(len(value), len(data) - at)
    data[at : at + size] = value[:size]


KINDS: Mapping[str, Damage] = {
    "flip": _flip,
    "bytes": _bytes,
    "truncate": _truncate,
    "splice": _splice,
    "offset": _offset,
    "scalar": _scalar,
}
#: How often each kind is drawn.
_SHARES = np.array([0.2, 0.15, 0.1, 0.15, 0.2, 0.2])
#: The large bundled file is damaged less often: most of its bytes are weights, and it runs slowly.
_LARGE_BYTES = 1 << 20
_LARGE_SHARE = 0.05


def mutant(seeds: Sequence[Seed], number: int, *, campaign: int = 0) -> tuple[Seed, str, bytes]:
    """(the sound file, the kind of damage, the damaged file); the same for the same seeds and numbers."""
    random = np.random.default_rng([campaign, number])
    large = [seed for seed in seeds if len(seed.data) > _LARGE_BYTES]
    small = [seed for seed in seeds if len(seed.data) <= _LARGE_BYTES]
    among = large if large and random.random() < _LARGE_SHARE else small
    seed = among[int(random.integers(len(among)))]
    kind = str(random.choice(list(KINDS), p=_SHARES))
    data = bytearray(seed.data)
    KINDS[kind](data, seed, random, small)
    return seed, kind, bytes(data)
