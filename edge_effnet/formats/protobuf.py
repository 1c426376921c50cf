"""Reads protobuf's wire format without trusting it: no length is followed past the message it stands in.

Source: https://protobuf.dev/programming-guides/encoding/ (a field is a varint tag, number · 8 + wire type, and its
value; groups are refused, as no ONNX file holds any).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from edge_effnet.errors import ModelFileError

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
_WIRE_BITS = 3
_WIRE_MASK = 7
_MAX_VARINT_BYTES = 10
_MAX_TAG = (1 << 32) - 1
_MAX_FIELDS = 1 << 18
#: Of all messages that are read of a file; a B7 has some 100,000.
_MAX_ALL_FIELDS = 1 << 21
_MAX_DEPTH = 32
_UINT64 = (1 << 64) - 1
_INT64_SIGN = 1 << 63
_FLOAT32 = np.dtype("<f4")
_ADVICE = "the file is damaged, cut off or no ONNX file; get it again"

#: (tag, start of the tag, value of a varint or else start of the content, end).
Span: TypeAlias = "tuple[int, int, int, int]"


def tag(number: int, wire_type: int = DELIMITED) -> int:
    """What opens a field of that number and wire type."""
    return number << _WIRE_BITS | wire_type


def spans(data: memoryview, start: int, end: int, *, name: str) -> Iterator[Span]:
    """The fields of the message that lies from `start` to `end`, in order.

    data: memoryview of bytes; name: the file's name for messages. Raises ModelFileError for what isn't a message.
    """
    position = start
    while position < end:
        first = position
        opening = data[position]
        position += 1
        if opening >= 0x80:
            opening, position = _varint(data, first, end, name)
        content = position
        wire_type = opening & _WIRE_MASK
        if wire_type == DELIMITED:
            length, content = _varint(data, position, end, name)
            position = content + length
        elif wire_type == VARINT:
            content, position = _varint(data, position, end, name)
        elif wire_type == FIXED32:
            position += 4
        elif wire_type == FIXED64:
            position += 8
        else:
            raise ModelFileError(f"{name}: the field at byte {first} has the unknown wire type {wire_type}; {_ADVICE}")
        if not _WIRE_MASK < opening <= _MAX_TAG:
            raise ModelFileError(
                f"{name}: the impossible field number {opening >> _WIRE_BITS} at byte {first}; {_ADVICE}"
            )
        if position > end:
            raise ModelFileError(
                f"{name}: field {opening >> _WIRE_BITS} at byte {first} ends at byte {position}, its message at byte "
                f"{end}; {_ADVICE}"
            )
        yield opening, first, content, position


def _varint(data: memoryview, position: int, end: int, name: str) -> tuple[int, int]:
    """(unsigned number of up to 64 bits, position behind it)."""
    if position < end and data[position] < 0x80:
        return data[position], position + 1
    value = shift = 0
    for at in range(position, min(position + _MAX_VARINT_BYTES, end)):
        byte = data[at]
        if byte < 0x80:
            return (value | byte << shift) & _UINT64, at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
    raise ModelFileError(
        f"{name}: the number at byte {position} doesn't end within {_MAX_VARINT_BYTES} bytes or its message; {_ADVICE}"
    )


class Message:
    """A message's fields by number. As protobuf has it, the last of several values of a single field counts.

    Messages inside are read when they are asked for, at most 32 deep. All methods raise ModelFileError.
    """

    __slots__ = ("_depth", "_fields", "_left", "data", "name")

    def __init__(
        self, data: memoryview, start: int, end: int, *, name: str, depth: int = 0, left: list[int] | None = None
    ) -> None:
        if depth > _MAX_DEPTH:
            raise ModelFileError(
                f"{name}: messages lie more than {_MAX_DEPTH} deep inside each other at byte {start}; expected a "
                "plain model"
            )
        self.data = data
        self.name = name
        self._depth = depth
        self._left = [_MAX_ALL_FIELDS] if left is None else left
        self._fields: dict[int, list[tuple[int, int]]] = {}
        for count, (opening, _, content, stop) in enumerate(spans(data, start, end, name=name)):
            self._fields.setdefault(opening, []).append((content, stop))
            self._left[0] -= 1
            if count >= _MAX_FIELDS or self._left[0] < 0:
                raise ModelFileError(
                    f"{name}: the message at byte {start} has more than {_MAX_FIELDS} fields, or all of them have more "
                    f"than {_MAX_ALL_FIELDS}; expected a plain model"
                )

    def has(self, number: int) -> bool:
        """Whether a text, bytes or message of that number is there."""
        return tag(number) in self._fields

    def integer(self, number: int, default: int = 0) -> int:
        """An int64 (or an enumeration's value)."""
        found = self._fields.get(tag(number, VARINT))
        return _signed(found[-1][0]) if found else default

    def integers(self, number: int, *, limit: int) -> tuple[int, ...]:
        """Repeated int64, packed or not, at most `limit` of them."""
        values = [_signed(value) for value, _ in self._fields.get(tag(number, VARINT), ())]
        for start, end in self._fields.get(tag(number), ()):
            while start < end and len(values) <= limit:
                value, start = _varint(self.data, start, end, self.name)
                values.append(_signed(value))
        if len(values) > limit:
            raise ModelFileError(f"{self.name}: field {number} holds more than {limit} numbers; expected a plain model")
        return tuple(values)

    def real(self, number: int) -> float:
        """A float32; 0 where absent."""
        found = self._fields.get(tag(number, FIXED32))
        return float(np.frombuffer(self.data, _FLOAT32, 1, found[-1][0])[0]) if found else 0.0

    def text(self, number: int) -> str:
        """Text ("" where absent); what isn't UTF-8 becomes U+FFFD."""
        found = self._fields.get(tag(number))
        return str(self.data[found[-1][0] : found[-1][1]], "utf-8", "replace") if found else ""

    def texts(self, number: int, *, limit: int) -> tuple[str, ...]:
        """Repeated text, at most `limit` of them."""
        return tuple(str(self.data[start:end], "utf-8", "replace") for start, end in self._repeated(number, limit))

    def raw(self, number: int) -> memoryview:
        """Bytes, not copied; empty where absent."""
        found = self._fields.get(tag(number))
        return self.data[found[-1][0] : found[-1][1]] if found else self.data[:0]

    def holds(self, numbers: frozenset[int]) -> bool:
        """Whether any of these fields is there, of whatever wire type."""
        return any(opening >> _WIRE_BITS in numbers for opening in self._fields)

    def total_bytes(self, number: int) -> int:
        """Bytes of a repeated text together."""
        return sum(end - start for start, end in self._fields.get(tag(number), ()))

    def message(self, number: int) -> Message | None:
        """A message inside this one; raises ModelFileError where there are several, which no writer makes."""
        found = self.messages(number, limit=1)
        return found[0] if found else None

    def messages(self, number: int, *, limit: int) -> list[Message]:
        """Repeated messages, at most `limit` of them."""
        return [
            Message(self.data, start, end, name=self.name, depth=self._depth + 1, left=self._left)
            for start, end in self._repeated(number, limit)
        ]

    def _repeated(self, number: int, limit: int) -> list[tuple[int, int]]:
        found = self._fields.get(tag(number), [])
        if len(found) > limit:
            raise ModelFileError(f"{self.name}: field {number} stands {len(found)} times; at most {limit} are read")
        return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value & _INT64_SIGN else value


def encoded_number(number: int, value: int) -> bytes:
    """A field with an int64 or an enumeration's value."""
    return encoded_varint(tag(number, VARINT)) + encoded_varint(value & _UINT64)


def encoded_varint(value: int) -> bytes:
    """The bytes of a number ≥ 0."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encoded_field(number: int, content: bytes) -> bytes:
    """A length-delimited field: text, bytes or a message."""
    return encoded_varint(tag(number)) + encoded_varint(len(content)) + content
