"""What an operator sees of a file: its operands, options and name, and where its scratch memory comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import EngineError

Array: TypeAlias = npt.NDArray[Any]
#: Computes one operator: its inputs in the file's order (None where one is left out), and where the output goes.
Kernel: TypeAlias = "Callable[[Sequence[Array], Array], None]"
#: Bytes of a strip of intermediate sums: small enough for a core's second-level cache, so that adding the bias,
#: scaling, rounding and clamping don't go to memory.
STRIP_BYTES = 1 << 18
INTEGERS = ("int8", "uint8")


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor. scales: float32[0], [1] or one per index of `axis`; zero_points: int64, as many. values: a
    constant's.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    values: Array | None = None


@dataclass(frozen=True)
class Affine:
    """real = scale · (integer − zero_point) for a whole tensor; `scale` is float32 and above 0."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True, eq=False)
class Node:
    """One operator. inputs: None where the file leaves one out. where: what messages call it."""

    code: str
    options: Mapping[str, Any]
    inputs: tuple[Operand | None, ...]
    output: Operand
    where: str

    def input(self, index: int) -> Operand:
        """The operand; raises EngineError where the file leaves it out."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise EngineError(f"{self.where} has {len(self.inputs)} inputs; expected number {index + 1} as well")
        return found

    def optional(self, index: int) -> Operand | None:
        """The operand or None."""
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> Array:
        """An operand's values; raises EngineError when they are computed while the model runs."""
        found = self.input(index)
        if found.values is None:
            raise EngineError(
                f"{self.where} computes its input {found.name!r:.80} at run time; the numpy engine expects a constant "
                "there"
            )
        return found.values

    def affine(self, operand: Operand) -> Affine:
        """The parameters of a tensor quantized as a whole; raises EngineError for others."""
        if len(operand.scales) != 1 or not operand.scales[0] > 0:
            raise EngineError(
                f"{self.where}: {operand.name!r:.80} has {len(operand.scales)} scales; expected one above 0"
            )
        return Affine(np.float32(operand.scales[0]), int(operand.zero_points[0]))

    def unsupported(self) -> EngineError:
        """The error for types that no kernel computes."""
        types = ", ".join("none" if operand is None else operand.dtype for operand in self.inputs)
        return EngineError(
            f"{self.where} takes {types} and gives {self.output.dtype}, which the numpy engine can't compute; use "
            "--engine litert"
        )

    def expect_shape(self, shape: Sequence[int]) -> None:
        """Raises EngineError unless the output is declared with this shape."""
        if tuple(shape) != self.output.shape:
            raise EngineError(
                f"{self.where} declares the output {list(self.output.shape)}, but its inputs give {list(shape)}; the "
                "file is inconsistent"
            )


class Workspace:
    """Scratch memory that all operators of a session share: one buffer a slot, as large as the largest use of it."""

    def __init__(self) -> None:
        self._buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def array(self, slot: str, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """An array of arbitrary content; valid until the slot is asked for again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(slot)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[slot] = np.empty(size, np.uint8)
        return buffer[:size].view(dtype).reshape(shape)


def is_float(node: Node) -> bool:
    """Whether first input and output are float32."""
    return node.input(0).dtype == node.output.dtype == "float32"


def is_integer(node: Node) -> bool:
    """Whether first input and output have one 8-bit type."""
    return node.input(0).dtype == node.output.dtype and node.output.dtype in INTEGERS


def strip_rows(row_bytes: int) -> int:
    """How many rows of so many bytes make a strip, at least 1."""
    return max(1, STRIP_BYTES // max(1, row_bytes))
