"""Which weights a float16 file stores in half precision, and the rounding to it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

FloatStorage: TypeAlias = Literal["float32", "float16"]
#: Weights with fewer values stay float32: the first layers and the depthwise ones, 2 % of the bytes. Their rounding is
#: what deeper layers amplify: on Lite4 with random weights the logits' error falls from 3.7 % to 0.6 % of their spread.
SMALLEST_HALF = 20_000


def to_half(values: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    """float16, saturating at its largest number instead of infinity."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(values, -limit, limit).astype(np.float16)
