"""A pickle's bytes as its opcodes take them: numbers, lines, texts, each bounded and charged to a budget."""

from __future__ import annotations

import codecs
import struct
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from edge_effnet.exporters.inputs.parts import FilePart
from edge_effnet.exporters.inputs.stored import FileBytes, MalformedError

#: Far beyond real files: a B7's weights, optimizer and average take some 200,000 opcodes.
MAX_OPCODES = 1_000_000
#: Of the stream with the strings and arrays in it; torch's tensors lie outside.
MAX_BYTES = 512 << 20
#: Characters of a class's name.
MAX_NAME = 1_000
_MAX_NUMBER_BYTES, _MAX_LINE = 64, 1 << 20
#: One text; it may take four times that while it is decoded.
_MAX_TEXT = 128 << 20
#: So many bytes are an array's, never a name's.
_LEFT_IN_FILE = 1 << 16
_CUT_OFF = "a pickle ends early; the file is cut off or damaged"


@dataclass
class Budget:
    """What is left to a file, of all its streams together."""

    opcodes: int = MAX_OPCODES
    bytes: int = MAX_BYTES

    def step(self) -> None:
        """Raises MalformedError when the streams have too many opcodes."""
        self.opcodes -= 1
        if self.opcodes < 0:
            raise MalformedError(f"a pickle of more than {MAX_OPCODES:,} steps")

    def spend(self, count: int) -> None:
        """Raises MalformedError when a stream, or what it makes, becomes too large."""
        self.bytes -= count
        if self.bytes < 0:
            raise MalformedError(f"a pickle of more than {MAX_BYTES:,} bytes")


class PickleStream:
    """A stream and what may be read of it; each method raises MalformedError.

    source: the file, or part of one, that the stream goes through, so that large runs of bytes may stay there.
    """

    def __init__(self, stream: BinaryIO, budget: Budget, source: FileBytes | FilePart | None = None) -> None:
        self._stream, self.budget, self._source = stream, budget, source

    def opcode(self) -> bytes:
        """The next, counted."""
        found = self._stream.read(1)
        if not found:
            raise MalformedError(_CUT_OFF)
        if found != b".":
            self.budget.step()
        return found

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        self.budget.spend(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise MalformedError(_CUT_OFF)
        return data

    def line(self, limit: int = MAX_NAME, encoding: str = "utf-8") -> str:
        """Up to the next line feed."""
        data = self._stream.readline(limit + 1)
        self.budget.spend(len(data))
        if not data.endswith(b"\n"):
            raise MalformedError("a line of a pickle has no end")
        return data[:-1].decode(encoding)

    def number(self, form: str) -> Any:
        """One number as `struct` writes it."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def sized(self, form: str) -> bytes:
        """Bytes behind their count."""
        count = self.number(form)
        if count < 0:
            raise MalformedError("a negative length in a pickle")
        return self.read(count)

    def run(self, form: str) -> bytes | FilePart:
        """Bytes behind their count: an array's, or a storage's. Many of a file's stay there until they are needed."""
        count = self.number(form)
        if self._source is None or count < _LEFT_IN_FILE:
            return self.read(count)
        at = self._stream.tell()
        if count > self._source.size - at:
            raise MalformedError(_CUT_OFF)
        self.budget.spend(count)
        self._stream.seek(at + count)
        return FilePart(self._source, at, count)

    def long(self, form: str) -> int:
        """A whole number of any length, behind its count of bytes."""
        data = self.sized(form)
        if len(data) > _MAX_NUMBER_BYTES:
            raise MalformedError(f"a number of {len(data):,} bytes in a pickle")
        return int.from_bytes(data, "little", signed=True)

    def text(self, form: str, encoding: str = "utf-8") -> str:
        """Text behind its count of bytes; Latin-1 keeps Python 2's str, which is text or bytes."""
        data = self.sized(form)
        if len(data) > _MAX_TEXT:
            raise MalformedError(f"a text of {len(data):,} bytes in a pickle")
        text = data.decode(encoding, "surrogatepass")
        self.budget.spend(max(0, sys.getsizeof(text) - len(data) - 100))
        return text

    def whole_line(self) -> int:
        """A whole number in digits."""
        return _whole(self.line().removesuffix("L"))

    def int_line(self) -> int | bool:
        """Protocol 0's integers, two spellings of which are truth values."""
        text = self.line()
        return bool(int(text)) if text in ("00", "01") else _whole(text)

    def string_line(self) -> str:
        """Text in quotes, as Python 2's repr writes it."""
        text = self.line(_MAX_LINE, "latin-1").strip()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise MalformedError("text in a pickle without its quotes")
        return codecs.escape_decode(text[1:-1].encode("latin-1"))[0].decode("latin-1")

    def unicode_line(self) -> str:
        """Text with escapes."""
        return self.line(_MAX_LINE, "raw-unicode-escape")


def _whole(text: str) -> int:
    if len(text) > 2 * _MAX_NUMBER_BYTES:
        raise MalformedError(f"a number of {len(text):,} digits in a pickle")
    return int(text)
