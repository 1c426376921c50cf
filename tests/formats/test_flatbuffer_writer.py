from __future__ import annotations

import numpy as np
import pytest

from edge_effnet.formats.flatbuffer import FLOAT32, INT8, INT32, UINT8, FlatBuffer
from edge_effnet.formats.flatbuffer_writer import Numbers, Scalar, Structure, flatbuffer, real, small, union_kind


def test_what_is_written_is_read_again() -> None:
    inner = Structure({0: small(-3), 2: real(0.5)})
    data = flatbuffer(
        Structure(
            {
                0: Scalar(7),
                1: "Köln",
                3: Numbers(np.array([1, -2, 3], np.int32)),
                4: [inner, inner],
                5: union_kind(9),
                6: inner,
                8: Numbers(b"\x01\x02\x03", 16),
                9: Numbers(np.array([5, -6], np.int64)),
            }
        ),
        identifier=b"TEST",
    )
    assert data[4:8] == b"TEST"
    root = FlatBuffer(memoryview(data), name="m").root()
    assert root.scalar(0, INT32) == 7
    assert root.string(1) == "Köln"
    assert not root.has(2)
    assert root.integers(3, limit=3) == (1, -2, 3)
    assert [(table.scalar(0, INT8), table.scalar(2, FLOAT32)) for table in root.tables(4, limit=2)] == [(-3, 0.5)] * 2
    kind, table = root.union(5)
    assert (kind, table is not None and table.scalar(0, INT8)) == (9, -3)
    assert root.scalar(5, UINT8) == 9
    assert bytes(root.raw(8)) == b"\x01\x02\x03"
    assert root.numbers(9, np.dtype("<i8")).tolist() == [5, -6]


@pytest.mark.parametrize("alignment", [1, 4, 16, 64])
def test_elements_are_aligned(alignment: int) -> None:
    data = flatbuffer(Structure({0: "abc", 1: Numbers(b"\xaa\xbb\xcc\xdd\xee", alignment)}), identifier=b"TEST")
    assert data.index(b"\xaa\xbb\xcc\xdd\xee") % alignment == 0


def test_equal_tables_share_their_layout() -> None:
    one, many = (flatbuffer(Structure({0: [Structure({0: Scalar(1)})] * n}), identifier=b"TEST") for n in (1, 11))
    assert (len(many) - len(one)) // 10 <= 12  # an offset and a table of two numbers each, no vtable


def test_an_empty_table_and_an_empty_list() -> None:
    root = FlatBuffer(memoryview(flatbuffer(Structure({0: []}), identifier=b"TEST")), name="m").root()
    assert root.tables(0, limit=1) == []
    FlatBuffer(memoryview(flatbuffer(Structure({}), identifier=b"TEST")), name="m").root()
