"""Reading `.safetensors`: a length, a JSON header and the tensors behind it, none of them before it is asked for.

Source: the format's description in github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.stored import (
    NUMPY_TYPES,
    FileBytes,
    MalformedError,
    Storage,
    StoredTensor,
    stored_tensor,
)
from edge_effnet.text import parse_json

_View: TypeAlias = tuple[str, list[int], int, int]
_MAX_HEADER_BYTES = 16 << 20
#: Type names of the format → element types of `stored`.
_KINDS = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "BF16": "bf16",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "bool",
}


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Name → tensor. Raises CheckpointError saying what is wrong with the file."""
    try:
        source = FileBytes.of(path)
        header, begin = _header(source)
        tensors = {name: _view(entry) for name, entry in header.items() if name != "__metadata__"}
        _check_places(tensors, source.size - begin)
        return {name: _tensor(source, begin, view) for name, view in tensors.items()}
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror or error})") from error
    except MalformedError as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def _header(source: FileBytes) -> tuple[dict[str, Any], int]:
    """The header, and the first byte behind it."""
    (length,) = struct.unpack("<Q", source.read(0, 8))
    if not 2 <= length <= min(_MAX_HEADER_BYTES, source.size - 8):
        raise MalformedError(f"a header of {length:,} bytes; expected at most {_MAX_HEADER_BYTES:,}, inside the file")
    try:
        header = parse_json(bytes(source.read(8, length)).decode("utf-8"))
    except ValueError as error:
        raise MalformedError("its header is no JSON") from error
    if not isinstance(header, dict):
        raise MalformedError("its header is no JSON object")
    return header, 8 + length


def _view(entry: Any) -> _View:
    """(type, shape, first byte, end)."""
    if not isinstance(entry, dict):
        raise MalformedError("a tensor that is no JSON object")
    name, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(name, str) or name not in _KINDS:
        raise MalformedError(f"tensors of type {str(name)[:40]}; expected {', '.join(_KINDS)}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise MalformedError("a tensor whose shape or place isn't whole numbers from 0")
    return _KINDS[name], shape, offsets[0], offsets[1]


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_places(tensors: dict[str, _View], size: int) -> None:
    """The format allows neither holes nor overlaps, so that no two parsers see different files."""
    at = 0
    for _, _, first, end in sorted(tensors.values(), key=lambda view: view[2:]):
        if first != at or end < first:
            raise MalformedError(f"a tensor at byte {first:,}; expected {at:,}, right behind the one before")
        at = end
    if at != size:
        raise MalformedError(f"{size:,} bytes of tensors, of which {at:,} are named; the file is cut off or damaged")


def _tensor(source: FileBytes, begin: int, view: _View) -> StoredTensor:
    kind, shape, first, end = view
    width = np.dtype(NUMPY_TYPES[kind]).itemsize
    tensor = stored_tensor(Storage(kind, (end - first) // width, (source, begin + first)), offset=0, shape=shape)
    if tensor.size * width != end - first:
        raise MalformedError(f"a tensor of {tensor.size:,} values in {end - first:,} bytes")
    return tensor
