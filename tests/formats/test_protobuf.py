from __future__ import annotations

import struct
from itertools import repeat

import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.protobuf import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    Message,
    encoded_field,
    encoded_varint,
    spans,
    tag,
)


def _message(data: bytes) -> Message:
    return Message(memoryview(data), 0, len(data), name="m")


def _varint(number: int, value: int) -> bytes:
    return encoded_varint(tag(number, VARINT)) + encoded_varint(value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), ((1 << 64) - 1, b"\xff" * 9 + b"\x01")],
)
def test_varints(value: int, encoded: bytes) -> None:
    assert encoded_varint(value) == encoded
    signed = value - (1 << 64) if value >> 63 else value
    assert _message(_varint(1, value)).integer(1) == signed


def test_getters() -> None:
    data = (
        _varint(1, 5)
        + _varint(1, 6)
        + encoded_field(2, b"caf\xc3\xa9")
        + encoded_field(2, b"\xff")
        + encoded_field(3, encoded_varint(1) + encoded_varint((1 << 64) - 1))
        + _varint(3, 7)
        + encoded_varint(tag(4, FIXED32))
        + struct.pack("<f", 0.5)
        + encoded_varint(tag(5, FIXED64))
        + bytes(8)
        + encoded_field(300, _varint(1, 9))
    )
    message = _message(data)
    assert (message.integer(1), message.integer(9, -3)) == (6, -3)
    assert (message.text(2), message.texts(2, limit=2), message.text(9), bytes(message.raw(2))) == (
        "�",
        ("café", "�"),
        "",
        b"\xff",
    )
    assert sorted(message.integers(3, limit=3)) == [-1, 1, 7]
    assert (message.real(4), message.real(9)) == (0.5, 0.0)
    inner = message.message(300)
    assert inner is not None
    assert inner.integer(1) == 9
    assert message.message(9) is None
    assert message.has(2)
    assert not message.has(1)
    assert message.holds(frozenset({1, 99}))
    assert not message.holds(frozenset({99}))
    assert message.total_bytes(2) == 6


def test_spans_cover_the_message() -> None:
    data = _varint(1, 300) + encoded_field(2, b"xyz")
    assert list(spans(memoryview(data), 0, len(data), name="m")) == [
        (tag(1, VARINT), 0, 300, 3),
        (tag(2, DELIMITED), 3, 5, 8),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0b", "field at byte 0 has the unknown wire type 3"),
        (b"\x0e", "field at byte 0 has the unknown wire type 6"),
        (b"\x00\x01", "the impossible field number 0 at byte 0"),
        (b"\x0a\x05abc", "field 1 at byte 0 ends at byte 7, its message at byte 5"),
        (b"\x0d\x00", "field 1 at byte 0 ends at byte 5"),
        (b"\x09\x00", "field 1 at byte 0 ends at byte 9"),
        (b"\x08", "the number at byte 1 doesn't end within 10 bytes or its message"),
        (b"\x08" + b"\x80" * 11, "the number at byte 1 doesn't end within 10 bytes"),
        (b"\xfa\xff\xff\xff\xff\x01\x00", "the impossible field number 8589934591 at byte 0"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends at byte 18446744073709551626"),
    ],
)
def test_broken_messages(data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        _message(data)


def test_a_message_ends_where_the_one_around_it_ends() -> None:
    """A length that is fine for the file but not for the message around it."""
    data = encoded_field(1, b"\x0a\x03a") + b"bc"
    with pytest.raises(ModelFileError, match="field 1 at byte 2 ends at byte 7, its message at byte 5"):
        _message(data[:5] + encoded_field(2, b"")).message(1)


def test_limits() -> None:
    twice = _message(encoded_field(1, b"") * 2 + _varint(2, 1) * 3)
    with pytest.raises(ModelFileError, match="field 1 stands 2 times; at most 1 are read"):
        twice.message(1)
    with pytest.raises(ModelFileError, match="field 2 holds more than 2 numbers"):
        twice.integers(2, limit=2)
    with pytest.raises(ModelFileError, match="more than 262144 fields"):
        _message(_varint(1, 1) * ((1 << 18) + 1))


def test_depth() -> None:
    data = b""
    for _ in repeat(None, 40):
        data = encoded_field(1, data)
    with pytest.raises(ModelFileError, match="more than 32 deep inside each other"):
        _deepest(_message(data))


def _deepest(message: Message) -> Message:
    inner = message.message(1)
    return message if inner is None else _deepest(inner)


def test_the_fields_of_all_messages_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_effnet.formats.protobuf._MAX_ALL_FIELDS", 10)
    outer = b"".join(repeat(encoded_field(1, _varint(1, 0) + _varint(2, 0)), 4))
    with pytest.raises(ModelFileError, match=r"m: the message at byte .* or all of them have more than 10; expected a"):
        _message(outer).messages(1, limit=4)
    monkeypatch.setattr("edge_effnet.formats.protobuf._MAX_ALL_FIELDS", 12)
    assert len(_message(outer).messages(1, limit=4)) == 4
