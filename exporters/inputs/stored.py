"""Tensors that lie in a file: their place is checked at once, their bytes are read when they are asked for.

A checkpoint's optimizer state is so never read, weights of half precision aren't held in float32 beside the network
that is made of them, and a file that is cut off or written to meanwhile is an error, where a mapped one would end the
process with SIGBUS.
"""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Data: TypeAlias = bytes | bytearray | memoryview
#: Storage element types → numpy's, little-endian; bfloat16, which numpy lacks, is the upper half of a float32.
NUMPY_TYPES = {
    **{name: name for name in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "c8", "c16")},
    "bool": "?",
    "bf16": "u2",
}
#: A tensor whose elements share their place in the file (`expand`) may have so many.
_MAX_SHARED = 1 << 20
#: Elements that are converted at once.
_PIECE = 1 << 22
_MAX_DIMENSIONS, _MAX_SIDE = 32, 1 << 40
_FLOATING = ("f8", "f4", "f2", "bf16")


#: An array, or what is read to one.
Tensor: TypeAlias = "npt.NDArray[Any] | StoredTensor"


class MalformedError(ValueError):
    """What a file says can't be; the message says what was found."""


class Bytes(Protocol):
    """Something that bytes can be read from by their place."""

    def read(self, offset: int, count: int) -> Data:
        """Exactly `count` bytes; raises MalformedError when there are fewer."""
        ...


@dataclass(frozen=True)
class MemoryBytes:
    """Bytes at hand."""

    data: bytes

    def read(self, offset: int, count: int) -> Data:
        """Exactly `count` bytes; raises MalformedError when there are fewer."""
        return _exactly(memoryview(self.data)[offset : offset + count], count)


@dataclass(frozen=True)
class FileBytes:
    """A regular file, opened for each read; raises MalformedError when it has changed since `of`."""

    path: Path
    size: int
    identity: tuple[int, ...]

    @staticmethod
    def of(path: Path) -> FileBytes:
        """The file as it is now. Raises OSError, MalformedError for what is no regular file."""
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise MalformedError("not a regular file")
        return FileBytes(path, found.st_size, _identity(found))

    def read(self, offset: int, count: int) -> Data:
        """Exactly `count` bytes; raises MalformedError when there are fewer."""
        if count > self.size - offset:
            raise MalformedError(f"{count:,} bytes at {offset:,} of {self.size:,}; the file is cut off or damaged")
        with open(self.path, "rb", buffering=0) as file:
            if _identity(os.fstat(file.fileno())) != self.identity:
                raise MalformedError("was written to while it was read")
            file.seek(offset)
            data = bytearray(count)
            view, done = memoryview(data), 0
            while done < count and (got := file.readinto(view[done:])):
                done += got
        view.release()
        return _exactly(data[:done] if done < count else data, count)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _exactly(data: Data, count: int) -> Data:
    if len(data) != count:
        raise MalformedError(f"{len(data):,} bytes where {count:,} were said; the file is cut off or damaged")
    return data


@dataclass
class Storage:
    """A run of `count` elements of `kind` (a key of NUMPY_TYPES, or "untyped": bytes), once `place` is known.

    place: what to read from, and the first byte.
    """

    kind: str
    count: int
    place: tuple[Bytes, int] | None = None
    byte_order: str = "<"


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as a view of a storage, in elements of `kind`; made by `stored_tensor`, which checks it."""

    storage: Storage = field(repr=False)
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether its values are read as float32 by `np.asarray`."""
        return self.kind in _FLOATING

    @property
    def dtype(self) -> np.dtype[Any]:
        """What `np.asarray` gives."""
        return np.dtype(np.float32 if self.is_floating else NUMPY_TYPES.get(self.kind, "V"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The values, read now: so a tensor is given wherever numpy takes an array. Raises MalformedError, OSError."""
        values = self.float32() if self.is_floating else self.array()
        return values if dtype is None else values.astype(dtype, copy=False)

    def float32(self) -> npt.NDArray[np.float32]:
        """The values as float32, converted piece by piece. Raises MalformedError, OSError."""
        if self.strides != _contiguous(self.shape) or self.size <= _PIECE:
            return np.asarray(self.array(), np.float32)
        made = np.empty(self.size, np.float32)
        for first in range(0, self.size, _PIECE):
            count = min(_PIECE, self.size - first)
            made[first : first + count] = StoredTensor(
                self.storage, self.kind, self.offset + first, (count,), (1,)
            ).array()
        return made.reshape(self.shape)

    def array(self) -> npt.NDArray[Any]:
        """The values, read now; bfloat16 as float32. Raises MalformedError, OSError."""
        if self.kind not in NUMPY_TYPES:
            raise MalformedError(f"values of type {self.kind}; expected plain floating-point weights")
        if self.storage.place is None:
            raise MalformedError("the bytes of a tensor are missing; the file is cut off")
        source, first = self.storage.place
        kind = np.dtype(self.storage.byte_order + NUMPY_TYPES[self.kind])
        data = source.read(first + self.offset * kind.itemsize, _span(self.shape, self.strides) * kind.itemsize)
        steps = [stride * kind.itemsize for stride in self.strides]
        view: npt.NDArray[Any] = np.ndarray(self.shape, kind, data, 0, steps)
        if self.kind == "bf16":
            wide = view.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        return np.ascontiguousarray(view).reshape(self.shape)


def stored_tensor(
    storage: Storage, *, offset: Any, shape: Any, strides: Any = None, kind: str | None = None
) -> StoredTensor:
    """The view, checked against its storage. Raises MalformedError when it reaches beyond it.

    strides: in elements; those of a contiguous array by default. kind: of an untyped storage's elements.
    """
    sides = _whole_numbers(shape, "shape")
    steps = _contiguous(sides) if strides is None else _whole_numbers(strides, "strides")
    (start,) = _whole_numbers((offset,), "offset")
    kind = kind or storage.kind
    size, span = math.prod(sides), _span(sides, steps)
    if len(steps) != len(sides) or size > max(span, _MAX_SHARED):
        raise MalformedError(f"a tensor of {size:,} values in {span:,} places with {len(steps)} strides")
    if start + span > _count(storage, kind):
        raise MalformedError(f"a tensor reaches to value {start + span:,} of {_count(storage, kind):,} that are stored")
    return StoredTensor(storage, kind, start, sides, steps)


def _count(storage: Storage, kind: str) -> int:
    if storage.kind != "untyped":
        return storage.count
    return storage.count // np.dtype(NUMPY_TYPES[kind]).itemsize if kind in NUMPY_TYPES else storage.count


def _whole_numbers(values: Any, what: str) -> tuple[int, ...]:
    """Sides, strides or an offset: whole numbers from 0, and not absurdly many or large."""
    good = isinstance(values, (tuple, list)) and len(values) <= _MAX_DIMENSIONS
    if not good or not all(type(value) is int and 0 <= value <= _MAX_SIDE for value in values):
        raise MalformedError(f"a tensor's {what} is no short list of whole numbers from 0")
    return tuple(values)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Places between the first and the last element, both counted."""
    if 0 in shape:
        return 0
    return 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=False))
