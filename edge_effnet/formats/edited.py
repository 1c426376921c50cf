"""A model file with other metadata: the document, its labels and, in a `.tflite`, the official metadata beside them."""

from __future__ import annotations

import struct
from dataclasses import replace

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import with_document
from edge_effnet.formats.flatbuffer import UINT32, FlatBuffer
from edge_effnet.formats.integrity import digest, weights_are_verified
from edge_effnet.formats.official import OFFICIAL
from edge_effnet.formats.packed import packed_files, read_packed
from edge_effnet.formats.tflite import read_tflite
from edge_effnet.metadata import ModelDocument

_ALIGNMENT = 16
_MOST_ENTRIES = 1 << 16


def with_metadata(data: bytes, document: ModelDocument, official: bytes | None, *, name: str) -> bytes:
    """The file with another document and, unless None, another official metadata; its weights stay byte for byte.

    The SHA-256 that the document carries is checked before, and is that of the new file after. Raises ModelFileError
    for a file that is damaged, or that has no official metadata to replace.
    """
    if official is None:
        return with_document(data, document, name=name)
    file = read_tflite(data, name=name)
    weights_are_verified(document, file.covered, name=name)
    start = len(file.covered[0])
    head = _with_official(data[:start], official, name=name)
    others = read_packed(memoryview(data), name=name, flatbuffer_end=start).files
    sealed = replace(document, weights_sha256=digest([head]))
    return head + packed_files(sealed, others)


def _with_official(flatbuffer: bytes, official: bytes, *, name: str) -> bytes:
    """The flatbuffer with the metadata's bytes behind everything else, and the offset that leads to them changed."""
    at = _offset_of_official(flatbuffer, name=name)
    old = at + UINT32.unpack_from(flatbuffer, at)[0]
    is_last = old + UINT32.size + UINT32.unpack_from(flatbuffer, old)[0] == len(flatbuffer)
    kept = flatbuffer[:old] if is_last else flatbuffer  # of an earlier edit: nothing else lies behind it
    kept += bytes(-(len(kept) + UINT32.size) % _ALIGNMENT)
    changed = bytearray(kept + UINT32.pack(len(official)) + official)
    struct.pack_into("<I", changed, at, len(kept) - at)
    return bytes(changed)


def _offset_of_official(flatbuffer: bytes, *, name: str) -> int:
    """Where the offset to the bytes of the official metadata stands (schema: Model.metadata 6, Model.buffers 4)."""
    model = FlatBuffer(memoryview(flatbuffer), name=name).root()
    entry = next((one for one in model.tables(6, limit=_MOST_ENTRIES) if one.string(0) == OFFICIAL), None)
    buffers = model.tables(4, limit=_MOST_ENTRIES)
    index = len(buffers) if entry is None else int(entry.scalar(1, UINT32))
    if index >= len(buffers) or not buffers[index].has(0):
        raise ModelFileError(f"{name}: has no official TFLite Metadata to change; expected a file of edge-effnet's")
    return buffers[index].position_of(0)
