"""Reads flatbuffers without trusting them: every offset is checked against the buffer before it's followed.

Source of the layout: https://flatbuffers.dev/internals/ (little-endian; offsets of tables, vectors and strings are
relative to where they stand; a vtable lists each field's place in its table, 0 for an absent one).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError

INT8, UINT8, INT32, UINT32, UINT64, FLOAT32, BOOL = (struct.Struct(f"<{code}") for code in "bBiIQf?")
_VTABLE_HEAD = struct.Struct("<HH")
_OFFSET_BYTES = 4
#: Bytes followed in all, as a multiple of the buffer's size: honest files share a few strings and vtables, hostile
#: ones let thousands of entries point at one large vector.
_REREADS = 4
_SMALL_FILE_ALLOWANCE = 1 << 16
#: Bytes of text and numbers that become Python's, some nine times as large; a B7 has 100 kB.
_MOST_DECODED = 16 << 20
_ADVICE = "the file is damaged or cut off; get it again"


class FlatBuffer:
    """A buffer read in place. `end` is one more than the highest byte read so far.

    data: memoryview of bytes; name: the file's name for messages. All methods of it and of its tables raise
    ModelFileError where an offset, a length or a count leaves the buffer.
    """

    def __init__(self, data: memoryview, *, name: str) -> None:
        self.data = data
        self.name = name
        self.end = 0
        self._size = len(data)
        self._budget = _REREADS * self._size + _SMALL_FILE_ALLOWANCE
        self._decoded = 0
        self._layouts: dict[int, tuple[int, tuple[int, ...]]] = {}

    def root(self) -> Table:
        """The table that the first four bytes point at."""
        self.claim(0, _OFFSET_BYTES, "root offset")
        return self.table_at(UINT32.unpack_from(self.data, 0)[0])

    def claim(self, start: int, size: int, what: str) -> None:
        """Checks that `size` bytes at `start` lie inside, and that the file isn't read over and over."""
        end = start + size
        if start < 0 or end > self._size:
            raise ModelFileError(
                f"{self.name}: {what} at byte {start} would end at byte {end}, but the file has {self._size} bytes; "
                f"{_ADVICE}"
            )
        self._budget -= size
        if self._budget < 0:
            raise ModelFileError(
                f"{self.name}: {what} at byte {start}: too many entries share the same bytes; {_ADVICE}"
            )
        if end > self.end:
            self.end = end

    def decode(self, size: int) -> None:
        """Counts bytes that become Python's own; raises ModelFileError for too many."""
        self._decoded += size
        if self._decoded > _MOST_DECODED:
            raise ModelFileError(
                f"{self.name}: more than {_MOST_DECODED:,} bytes of names, shapes and indices; expected a plain model"
            )

    def table_at(self, position: int) -> Table:
        """The table at an absolute position."""
        self.claim(position, _OFFSET_BYTES, "table")
        vtable = position - INT32.unpack_from(self.data, position)[0]
        size, fields = self._layouts.get(vtable) or self._layout(vtable)
        self.claim(position, size, "table")
        return Table(self, position, size, fields)

    def _layout(self, position: int) -> tuple[int, tuple[int, ...]]:
        """(bytes of the table, each field's place in it), read once per vtable."""
        self.claim(position, _VTABLE_HEAD.size, "vtable")
        own_size, table_size = _VTABLE_HEAD.unpack_from(self.data, position)
        if own_size < _VTABLE_HEAD.size or own_size % 2 or table_size < _OFFSET_BYTES:
            raise ModelFileError(
                f"{self.name}: vtable at byte {position} has the impossible sizes {own_size} and {table_size}; "
                f"{_ADVICE}"
            )
        self.claim(position, own_size, "vtable")
        fields = struct.unpack_from(f"<{own_size // 2 - 2}H", self.data, position + _VTABLE_HEAD.size)
        self._layouts[position] = table_size, fields
        return table_size, fields


class Table:
    """One table; `slot` is a field's position in the schema, counted from 0. An absent field gives the default."""

    __slots__ = ("_buffer", "_fields", "_position", "_size")

    def __init__(self, buffer: FlatBuffer, position: int, size: int, fields: tuple[int, ...]) -> None:
        self._buffer = buffer
        self._position = position
        self._size = size
        self._fields = fields

    def has(self, slot: int) -> bool:
        """Whether the field is there."""
        return slot < len(self._fields) and self._fields[slot] != 0

    def scalar(self, slot: int, kind: struct.Struct, default: Any = 0) -> Any:
        """A number of the given kind (INT8 … BOOL)."""
        at = self._place(slot, kind.size)
        return kind.unpack_from(self._buffer.data, at)[0] if at else default

    def position_of(self, slot: int) -> int:
        """Where the offset of a vector, string or table stands in the buffer; 0 for an absent field."""
        return self._place(slot, _OFFSET_BYTES)

    def string(self, slot: int) -> str:
        """Text ("" where absent); what isn't UTF-8 becomes U+FFFD."""
        start, count = self._vector(slot, 1, "string")
        self._buffer.decode(count)
        return str(self._buffer.data[start : start + count], "utf-8", "replace")

    def raw(self, slot: int) -> memoryview:
        """A vector of bytes, not copied."""
        start, count = self._vector(slot, 1, "vector")
        return self._buffer.data[start : start + count]

    def numbers(self, slot: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A vector of numbers as a read-only view; not necessarily aligned."""
        start, count = self._vector(slot, dtype.itemsize, "vector")
        return np.frombuffer(self._buffer.data, dtype, count, start)

    def integers(self, slot: int, *, limit: int) -> tuple[int, ...]:
        """A vector of int32, at most `limit` of them."""
        start, count = self._vector(slot, 4, "vector")
        self._buffer.decode(4 * count)
        if count > limit:
            raise ModelFileError(
                f"{self._buffer.name}: vector at byte {start} has {count} numbers; at most {limit} are expected"
            )
        return struct.unpack_from(f"<{count}i", self._buffer.data, start)

    def table(self, slot: int) -> Table | None:
        """A table inside this one."""
        at = self._place(slot, _OFFSET_BYTES)
        return self._buffer.table_at(at + UINT32.unpack_from(self._buffer.data, at)[0]) if at else None

    def tables(self, slot: int, *, limit: int) -> list[Table]:
        """A vector of tables, at most `limit` of them."""
        start, count = self._vector(slot, _OFFSET_BYTES, "vector")
        if count > limit:
            raise ModelFileError(
                f"{self._buffer.name}: vector at byte {start} has {count} tables; at most {limit} are read"
            )
        offsets = struct.unpack_from(f"<{count}I", self._buffer.data, start)
        return [self._buffer.table_at(start + _OFFSET_BYTES * index + offset) for index, offset in enumerate(offsets)]

    def union(self, slot: int) -> tuple[int, Table | None]:
        """(kind, value): the kind stands in `slot`, the value in the one behind; (0, None) where either is absent."""
        kind = int(self.scalar(slot, UINT8))
        value = self.table(slot + 1) if kind else None
        return (kind, value) if value is not None else (0, None)

    def _place(self, slot: int, width: int) -> int:
        """Absolute position of a field; 0, where only the root offset can stand, for an absent one."""
        offset = self._fields[slot] if slot < len(self._fields) else 0
        if not offset:
            return 0
        if offset < _OFFSET_BYTES or offset + width > self._size:
            raise ModelFileError(
                f"{self._buffer.name}: field {slot} of the table at byte {self._position} lies outside the table; "
                f"{_ADVICE}"
            )
        return self._position + offset

    def _vector(self, slot: int, width: int, what: str) -> tuple[int, int]:
        """(position of the first element, count); (0, 0) for an absent one."""
        at = self._place(slot, _OFFSET_BYTES)
        if not at:
            return 0, 0
        buffer = self._buffer
        start = at + UINT32.unpack_from(buffer.data, at)[0]
        buffer.claim(start, _OFFSET_BYTES, what)
        count = UINT32.unpack_from(buffer.data, start)[0]
        start += _OFFSET_BYTES
        buffer.claim(start, count * width, what)
        return start, count
