"""Writes flatbuffers: tables, vectors and strings in the order they are met, each aligned, equal vtables shared.

Source of the layout: https://flatbuffers.dev/internals/ (see `flatbuffer`, which reads it).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.flatbuffer import BOOL, FLOAT32, INT8, INT32, UINT8, UINT32

__all__ = ["Numbers", "Scalar", "Structure", "flatbuffer"]

_IDENTIFIER_BYTES = 4
_OFFSET = UINT32.size
_VTABLE_HEAD = struct.Struct("<HH")
#: Largest number of bytes of a scalar here; tables need no greater alignment.
_TABLE_ALIGNMENT = 4


@dataclass(frozen=True)
class Scalar:
    """A number of a table. kind: one of the structs of `flatbuffer`, at most four bytes."""

    value: float
    kind: struct.Struct = INT32


@dataclass(frozen=True, eq=False)
class Numbers:
    """A vector of numbers, or of bytes (uint8). alignment: of its first element, at least the element's own."""

    values: npt.NDArray[np.generic] | bytes | memoryview
    alignment: int = 1


@dataclass(frozen=True, eq=False)
class Structure:
    """A table: slot (a field's place in the schema) → value. A field without an entry has the schema's default."""

    fields: Mapping[int, Value]


Value: TypeAlias = "Scalar | Numbers | Structure | str | Sequence[Structure]"


def flatbuffer(root: Structure, *, identifier: bytes) -> bytes:
    """The bytes of a buffer whose root is that table. identifier: four bytes, as `b"TFL3"`."""
    writer = _Writer()
    writer.data += UINT32.pack(0) + identifier[:_IDENTIFIER_BYTES]
    writer.point(0, writer.table(root))
    return bytes(writer.data)


class _Writer:
    """What is written so far. Offsets lead forward, so a child stands behind what points at it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._vtables: dict[bytes, int] = {}

    def point(self, at: int, target: int) -> None:
        """Fills in the offset that stands at `at`."""
        UINT32.pack_into(self.data, at, target - at)

    def align(self, size: int, *, ahead: int = 0) -> int:
        """Pads until what comes `ahead` bytes from the end is aligned; where the end is then."""
        self.data += bytes(-(len(self.data) + ahead) % size)
        return len(self.data)

    def table(self, structure: Structure) -> int:
        """Writes the table, then what it points at."""
        places, size = _places(structure.fields)
        vtable = self._vtable(places, size)
        start = self.align(_TABLE_ALIGNMENT)
        self.data += bytes(size)
        INT32.pack_into(self.data, start, start - vtable)
        for slot, value in structure.fields.items():
            at = start + places[slot]
            if isinstance(value, Scalar):
                value.kind.pack_into(self.data, at, value.value)
            else:
                self.point(at, self._child(value))
        return start

    def _vtable(self, places: Mapping[int, int], size: int) -> int:
        count = max(places, default=-1) + 1
        entries = struct.pack(f"<{count}H", *(places.get(slot, 0) for slot in range(count)))
        content = _VTABLE_HEAD.pack(_VTABLE_HEAD.size + len(entries), size) + entries
        if content not in self._vtables:
            self._vtables[content] = self.align(2)
            self.data += content
        return self._vtables[content]

    def _child(self, value: Numbers | Structure | str | Sequence[Structure]) -> int:
        if isinstance(value, Structure):
            return self.table(value)
        if isinstance(value, str):
            text = value.encode("utf-8")
            return self._vector(len(text), text + b"\0", 1)
        if isinstance(value, Numbers):
            return self._numbers(value)
        start = self._vector(len(value), bytes(_OFFSET * len(value)), _OFFSET)
        for index, structure in enumerate(value):
            self.point(start + _OFFSET * (index + 1), self.table(structure))
        return start

    def _numbers(self, numbers: Numbers) -> int:
        values = numbers.values
        if isinstance(values, np.ndarray):
            little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            return self._vector(values.size, little.tobytes(), max(numbers.alignment, values.dtype.itemsize))
        return self._vector(len(values), values, numbers.alignment)

    def _vector(self, count: int, content: bytes | memoryview, alignment: int) -> int:
        """Where the count stands; the elements behind it are aligned."""
        start = self.align(max(alignment, _OFFSET), ahead=_OFFSET)
        self.data += UINT32.pack(count)
        self.data += content
        return start


def _places(fields: Mapping[int, Value]) -> tuple[dict[int, int], int]:
    """(each field's place in its table, bytes of the table); wide fields first, so that none needs padding."""
    widths = {slot: value.kind.size if isinstance(value, Scalar) else _OFFSET for slot, value in fields.items()}
    places, at = {}, INT32.size
    for slot in sorted(widths, key=lambda slot: (-widths[slot], slot)):
        places[slot] = at
        at += widths[slot]
    return places, at


def small(value: int) -> Scalar:
    """An enumeration's value, int8."""
    return Scalar(value, INT8)


def union_kind(value: int) -> Scalar:
    """Which table a union holds, uint8."""
    return Scalar(value, UINT8)


def index(value: int) -> Scalar:
    """A number of a thing in the file, uint32."""
    return Scalar(value, UINT32)


def truth(value: object) -> Scalar:
    """A bool."""
    return Scalar(bool(value), BOOL)


def real(value: float) -> Scalar:
    """A float32."""
    return Scalar(value, FLOAT32)
