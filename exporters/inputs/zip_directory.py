"""The parts of a zip archive whose members are stored as they are, without reading more than its bounded directory.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14–4.3.16 (its end, zip64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge_effnet.exporters.inputs.stored import FileBytes, MalformedError

_MAX_DIRECTORY_BYTES, _MAX_COMMENT = 16 << 20, 0xFFFF
_END, _END64, _LOCATOR64, _MEMBER, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"
_STORED, _WHOLE32 = 0, 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """A member: bytes `offset` … `offset + size` of the archive, as they are where it's `stored`."""

    name: str
    offset: int
    size: int
    stored: bool = True


def is_zip(source: FileBytes) -> bool:
    """Whether the file begins as an archive does."""
    return source.size >= 22 and bytes(source.read(0, 4)) == _LOCAL


def members(source: FileBytes) -> dict[str, Member]:
    """Name → where it lies. Raises MalformedError for a damaged directory, two of one name."""
    offset, size = _directory(source)
    if size > _MAX_DIRECTORY_BYTES:
        raise MalformedError(f"a zip directory of {size:,} bytes; expected at most {_MAX_DIRECTORY_BYTES:,}")
    found: dict[str, Member] = {}
    for member in _entries(source, bytes(source.read(offset, size))):
        if member.name in found:
            raise MalformedError(f"a zip archive with two members named {member.name[:80]!r}")
        found[member.name] = member
    return found


def _directory(source: FileBytes) -> tuple[int, int]:
    """Offset and size of the central directory."""
    start = max(0, source.size - 22 - _MAX_COMMENT)
    tail = bytes(source.read(start, source.size - start))
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise MalformedError("a zip archive without its directory; the file is cut off")
    size, offset = struct.unpack_from("<II", tail, at + 12)
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR64:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        end = bytes(source.read(place, 56))
        if end[:4] != _END64:
            raise MalformedError("a zip archive whose directory isn't where it says")
        size, offset = struct.unpack_from("<QQ", end, 40)
    return offset, size


def _entries(source: FileBytes, directory: bytes) -> Iterator[Member]:
    at = 0
    while directory[at : at + 4] == _MEMBER and len(directory) - at >= 46:
        flags, method = struct.unpack_from("<HH", directory, at + 8)
        packed, size, name_length, extra_length, comment = struct.unpack_from("<IIHHH", directory, at + 20)
        (offset,) = struct.unpack_from("<I", directory, at + 42)
        name = directory[at + 46 : at + 46 + name_length].decode("utf-8", "replace")
        extra = directory[at + 46 + name_length : at + 46 + name_length + extra_length]
        size, packed, offset = _wide(extra, [size, packed, offset])
        yield Member(name, _data_offset(source, offset), size, method == _STORED and not flags & 1)
        at += 46 + name_length + extra_length + comment
    if at != len(directory):
        raise MalformedError("a damaged zip directory")


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and offset, those that didn't fit 32 bits taken from the zip64 field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return [next(wide, value) if value == _WHOLE32 else value for value in values]
        at += 4 + length
    return values


def _data_offset(source: FileBytes, header: int) -> int:
    found = bytes(source.read(header, 30))
    if found[:4] != _LOCAL:
        raise MalformedError("a zip member that isn't where the directory says")
    name, extra = struct.unpack_from("<HH", found, 26)
    return int(header + 30 + name + extra)
