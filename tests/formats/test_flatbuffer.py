from __future__ import annotations

import struct

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import INT8, INT32, FlatBuffer, Table


def _root(data: bytes) -> Table:
    return FlatBuffer(memoryview(data), name="m").root()


def _table(fields: bytes, *places: int) -> bytes:
    """Root offset, a vtable with the given places, then the table: its offset to the vtable and `fields`."""
    vtable = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), 4 + len(fields), *places)
    start = 4 + len(vtable)
    return struct.pack("<I", start) + vtable + struct.pack("<i", len(vtable)) + fields


def test_scalars_vectors_and_defaults() -> None:
    data = _table(struct.pack("<bxxxI", -5, 4) + struct.pack("<I3i", 3, 7, -8, 9), 4, 8, 0)
    root = _root(data)
    assert root.scalar(0, INT8) == -5
    assert root.integers(1, limit=3) == (7, -8, 9)
    assert root.numbers(1, np.dtype("<i4")).tolist() == [7, -8, 9]
    assert bytes(root.raw(1)) == struct.pack("<i", 7)[:3]
    assert root.scalar(2, INT32, 12) == root.scalar(99, INT32, 12) == 12
    assert (root.string(2), root.integers(2, limit=1), root.table(2), root.tables(2, limit=1), root.union(2)) == (
        "",
        (),
        None,
        [],
        (0, None),
    )
    assert root.has(0)
    assert not root.has(2)
    assert not root.has(3)


def test_text_that_is_not_utf8() -> None:
    assert _root(_table(struct.pack("<I", 4) + struct.pack("<I", 2) + b"a\xff", 4)).string(0) == "a�"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "root offset at byte 0 would end at byte 4, but the file has 0 bytes"),
        (struct.pack("<I", 4000), "table at byte 4000 would end at byte 4004"),
        (struct.pack("<Ii", 4, 100), "vtable at byte -96"),
        (struct.pack("<Ii", 4, -(1 << 31)), "vtable at byte 2147483652"),
        (struct.pack("<IHHi", 8, 3, 8, 4), "vtable at byte 4 has the impossible sizes 3 and 8"),
        (struct.pack("<IHHi", 8, 200, 8, 4), "vtable at byte 4 would end at byte 204"),
        (struct.pack("<IHHi", 8, 4, 900, 4), "table at byte 8 would end at byte 908"),
    ],
)
def test_broken_roots(data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        _root(data)


def test_field_outside_its_table() -> None:
    for place in (2, 100):
        with pytest.raises(ModelFileError, match="field 0 of the table at byte 10 lies outside the table"):
            _root(_table(struct.pack("<I", 0), place)).scalar(0, INT32)


def test_vector_longer_than_the_file() -> None:
    root = _root(_table(struct.pack("<I", 4) + struct.pack("<I", 0xFFFFFFFF), 4))
    with pytest.raises(ModelFileError, match="vector at byte 22 would end at byte"):
        root.numbers(0, np.dtype("<f4"))
    with pytest.raises(ModelFileError, match="string at byte 22 would end at byte"):
        root.string(0)


def test_counts_are_limited() -> None:
    root = _root(_table(struct.pack("<I", 4) + struct.pack("<I2I", 2, 0, 0), 4))
    with pytest.raises(ModelFileError, match="has 2 numbers; at most 1 are expected"):
        root.integers(0, limit=1)
    with pytest.raises(ModelFileError, match="has 2 tables; at most 1 are read"):
        root.tables(0, limit=1)


def test_reading_the_same_bytes_over_and_over_ends() -> None:
    root = _root(_table(struct.pack("<I", 4) + struct.pack("<I", 40_000) + bytes(40_000), 4))
    with pytest.raises(ModelFileError, match="too many entries share the same bytes"):
        [root.raw(0) for _ in range(10)]


def test_texts_and_numbers_in_all_are_bounded() -> None:
    """A 30 MB file that listed one subgraph 30 times took 1.1 GB; each number becomes nine times as large."""
    text = bytes(6 << 20)
    root = _root(_table(struct.pack("<I", 4), 4) + struct.pack("<I", len(text)) + text)
    for _ in range(2):
        root.string(0)
    with pytest.raises(ModelFileError, match="m: more than 16,777,216 bytes of names, shapes and indices"):
        root.string(0)
