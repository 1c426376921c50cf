"""What operators on constants may make: counted before they run, since a few of them make gigabytes of a few bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters.inputs.assembly.value import refuse

Array: TypeAlias = npt.NDArray[Any]
#: Bytes of a value at most; fp16 weights in float32, counted so, are four times the file.
_WIDEST, _TIMES = 8, 4
#: Beside that, for computations on shapes and on small weights.
_BESIDE = 64 << 20


@dataclass
class Allowance:
    """Bytes that may yet be made of a file's constants."""

    left: int

    @staticmethod
    def of(size: int) -> Allowance:
        """For a file, or constants, of so many bytes."""
        return Allowance(_BESIDE + _TIMES * size)

    def spend(self, values: int, what: str) -> None:
        """Raises OperatorError for more values than the file's own constants give reason for."""
        self.left -= _WIDEST * max(0, values)
        if self.left < 0:
            refuse(f"{what}, which makes {values:,} values of constants", "what fits the file's own weights")


def broadcast_count(arrays: Sequence[Array]) -> int:
    """Values that an operator element by element makes of them, or reads where it makes fewer."""
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    except ValueError:  # other sides, as a reduction's axes: the operator says what is wrong, if something is
        return sum(array.size for array in arrays)


def joined_count(arrays: Sequence[Array]) -> int:
    """Values of all of them."""
    return sum(array.size for array in arrays)


def copied_count(arrays: Sequence[Array]) -> int:
    """None where a new shape is a view of the same numbers."""
    return 0 if not arrays or arrays[0].flags.c_contiguous else arrays[0].size


def no_count(_: Sequence[Array]) -> int:
    """For views."""
    return 0
