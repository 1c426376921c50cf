"""The tensors of a `.tflite` file: shape, type, quantization and, for constants, a view of their values.

Source of the slot numbers and of what must agree: schema.fbs (Tensor, QuantizationParameters) and the checks that
LiteRT makes while it loads a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import BOOL, INT8, INT32, UINT32, Table
from edge_effnet.formats.records import SHOWN, TensorFacts
from edge_effnet.formats.tflite_schema import NUMPY_TYPES, TENSOR_TYPES

#: numpy 1 refuses more axes.
_MAX_RANK = 32
_MAX_ELEMENTS = 1 << 31
_FREE = -1
_BITS = dict(TENSOR_TYPES.values())
_INTEGER_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_FLOAT32 = np.dtype("<f4")
_INT64 = np.dtype("<i8")
_NO_SCALES = np.empty(0, _FLOAT32)
_NO_ZERO_POINTS = np.empty(0, _INT64)


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """A tensor of the subgraph.

    shape: sides ≥ 0; signature: the same with -1 where the model leaves a side free, () where it doesn't say.
    dtype: numpy's name ("int8"), or TFLite's for types numpy lacks ("int4"). scales: float32[0], [1] or one for each
    index of the axis `quantized_dimension`; zero_points: int64, as many. buffer: index of the file's buffer.
    data: the constant's bytes in the file, None for a tensor that is computed. sparse: the bytes are compressed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    signature: tuple[int, ...]
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    quantized_dimension: int
    buffer: int
    data: memoryview | None
    is_variable: bool
    sparse: bool

    def values(self) -> npt.NDArray[Any]:
        """A read-only view of the constant's values in its shape and type; raises ModelFileError where there is
        none.
        """
        if self.data is None:
            raise ModelFileError(
                f"tensor {self.name!r:.{SHOWN}} has no values in the file; it's computed when the model runs"
            )
        dtype = NUMPY_TYPES.get(self.dtype)
        if dtype is None or self.sparse:
            raise ModelFileError(
                f"tensor {self.name!r:.{SHOWN}} holds {'sparse ' if self.sparse else ''}{self.dtype}, which numpy "
                "can't view; use another engine"
            )
        if len(self.data) != math.prod(self.shape) * dtype.itemsize:
            raise ModelFileError(
                f"tensor {self.name!r:.{SHOWN}} is {self.dtype}{list(self.shape)} but has {len(self.data)} bytes"
            )
        return np.frombuffer(self.data, dtype).reshape(self.shape)

    def facts(self) -> TensorFacts:
        """Name, shape and type as both formats give them."""
        sides = self.signature or self.shape
        return TensorFacts(self.name, tuple(None if side == _FREE else side for side in sides), self.dtype)


def read_tensor(table: Table, index: int, buffers: Sequence[memoryview | None], file: str) -> TfliteTensor:
    """The tensor of number `index`; raises ModelFileError naming it and what doesn't fit."""
    name = table.string(3)
    where = f"{file}: tensor {index} {name!r:.{SHOWN}}"
    dtype = _dtype(table.scalar(1, INT8), where)
    shape, signature = _shapes(table, where)
    scales, zero_points, axis = _quantization(table.table(4), shape, dtype, where)
    if table.scalar(10, UINT32):
        raise ModelFileError(f"{where} has its values in another file; expected a self-contained file")
    if table.has(9):
        raise ModelFileError(f"{where} holds tensors of its own; expected a plain one")
    buffer = table.scalar(2, UINT32)
    sparse = table.has(6)
    data = _data(buffer, buffers, where)
    if data is not None and not sparse:
        _check_length(data, shape, dtype, where)
    return TfliteTensor(
        name, shape, dtype, signature, scales, zero_points, axis, buffer, data, table.scalar(5, BOOL, False), sparse
    )


def _dtype(number: int, where: str) -> str:
    if number not in TENSOR_TYPES:
        raise ModelFileError(
            f"{where} has the unknown type {number}; expected 0 to {len(TENSOR_TYPES) - 1}, or a newer edge-effnet is "
            "needed"
        )
    return TENSOR_TYPES[number][0]


def _shapes(table: Table, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = table.integers(0, limit=_MAX_RANK)
    signature = table.integers(7, limit=_MAX_RANK)
    if shape and (min(shape) < 0 or math.prod(shape) > _MAX_ELEMENTS):
        raise ModelFileError(
            f"{where} has the shape {list(shape)}; expected sides of at least 0 and at most {_MAX_ELEMENTS} elements"
        )
    if signature and (len(signature) != len(shape) or min(signature) < _FREE):
        raise ModelFileError(
            f"{where} has the shape {list(shape)} but the signature {list(signature)}; expected as many sides, -1 for "
            "a free one"
        )
    return shape, signature


def _data(buffer: int, buffers: Sequence[memoryview | None], where: str) -> memoryview | None:
    """The bytes of a constant; buffer 0 stands for none."""
    if buffer == 0:
        return None
    if buffer >= len(buffers):
        raise ModelFileError(f"{where} is in buffer {buffer}; the file has {len(buffers)} buffers")
    return buffers[buffer]


def _check_length(data: memoryview, shape: tuple[int, ...], dtype: str, where: str) -> None:
    bits = _BITS[dtype]
    expected = (math.prod(shape) * bits + 7) // 8
    if bits and len(data) != expected:
        raise ModelFileError(
            f"{where} is {dtype}{list(shape)} and needs {expected} bytes, but the file holds {len(data)}"
        )


def _quantization(
    table: Table | None, shape: tuple[int, ...], dtype: str, where: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
    """(scales, zero points, axis); without both scales and zero points a tensor isn't quantized, as LiteRT sees it."""
    if table is None:
        return _NO_SCALES, _NO_ZERO_POINTS, 0
    for slot in (0, 1):  # smallest and largest value seen: not used here, but read by engines
        if table.has(slot):
            table.numbers(slot, _FLOAT32)
    if table.has(5):
        raise ModelFileError(
            f"{where} is quantized in a way of its own (kind {table.union(4)[0]}); expected scales and zero points"
        )
    scales, zero_points = table.numbers(2, _FLOAT32), table.numbers(3, _INT64)
    if not len(scales) or not len(zero_points):
        return _NO_SCALES, _NO_ZERO_POINTS, 0
    axis = table.scalar(6, INT32)
    if len(scales) != len(zero_points):
        raise ModelFileError(f"{where} has {len(scales)} scales and {len(zero_points)} zero points; expected as many")
    if not 0 <= axis < max(len(shape), 1) or len(scales) not in (1, *shape[axis : axis + 1]):
        raise ModelFileError(
            f"{where} has {len(scales)} scales along axis {axis} of {list(shape)}; expected 1 or one for each index"
        )
    if not _finite(scales):
        raise ModelFileError(f"{where} has scales that are negative, NaN or infinite")
    _check_zero_points(zero_points, dtype, where)
    return scales, zero_points, axis


def _finite(scales: npt.NDArray[np.float32]) -> bool:
    """All in 0 … largest float32; one scale is the common case and needs no ufunc."""
    if len(scales) == 1:
        return 0.0 <= float(scales[0]) < math.inf
    return bool(float(scales.min()) >= 0.0 and float(scales.max()) < math.inf)


def _check_zero_points(zero_points: npt.NDArray[np.int64], dtype: str, where: str) -> None:
    if dtype not in _INTEGER_LIMITS:
        return
    smallest, largest = _INTEGER_LIMITS[dtype]
    lowest, highest = (
        (int(zero_points[0]),) * 2 if len(zero_points) == 1 else (int(zero_points.min()), int(zero_points.max()))
    )
    if lowest < smallest or highest > largest:
        raise ModelFileError(
            f"{where} has zero points from {lowest} to {highest}; {dtype} holds {smallest} to {largest}"
        )
