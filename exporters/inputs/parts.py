"""A run of a file's bytes: read when they are asked for, by their place or as a stream."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from edge_effnet.exporters.inputs.stored import Data, FileBytes, MalformedError


@dataclass(frozen=True, eq=False)
class FilePart:
    """Bytes `first` … `first + size` of a file, or of a part of one."""

    source: FileBytes | FilePart
    first: int
    size: int

    def read(self, offset: int, count: int) -> Data:
        """Exactly `count` bytes; raises MalformedError for what lies outside."""
        if not 0 <= offset <= self.size - count:
            raise MalformedError(f"{count:,} bytes at {offset:,} of {self.size:,}; the file is cut off or damaged")
        return self.source.read(self.first + offset, count)


class PartStream(io.RawIOBase):
    """A part as a file of its own."""

    def __init__(self, part: FilePart) -> None:
        super().__init__()
        self._part, self._at = part, 0

    def seekable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place within the part."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place within the part."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._part.size))
        return self._at

    def readinto(self, target: Any) -> int:
        """Fills `target` as far as the part goes."""
        view = memoryview(target).cast("B")
        count = max(0, min(len(view), self._part.size - self._at))
        if count:
            view[:count] = self._part.read(self._at, count)
            self._at += count
        return count
