"""From pixels to the tensor an engine takes, in memory that every photo uses again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines import Session
from edge_effnet.numerics import quantize
from edge_effnet.preprocessing import Preprocessing


class InputTensor:
    """Fills one engine's input. Our integer files, and bytes without a scale, take the pixels; others a number for
    each.

    raw: whether the file takes pixels as they are, 0..255. What is written for a pixel stands in a table of 256 entries
    a channel, so that no image of floats is computed.
    """

    def __init__(self, preprocessing: Preprocessing, session: Session, *, known: bool) -> None:
        info = session.input
        height, width = preprocessing.size
        depth = preprocessing.depth
        self.raw = info.dtype == "uint8" and (known or not info.scale)
        self._tables: npt.NDArray[Any] = preprocessing.tables()
        if info.dtype != "float32":
            self._tables = quantize(self._tables, info.scale or 1.0, info.zero_point, dtype=info.dtype)
        shape = (1, height, width, depth) if session.layout == "nhwc" else (1, depth, height, width)
        self._tensor = np.empty(shape, info.dtype)
        self._image_hwc = self._tensor[0] if session.layout == "nhwc" else self._tensor[0].transpose(1, 2, 0)

    def fill(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The tensor, of the engine's shape and dtype, for uint8[H, W, C]; the next call overwrites it."""
        if self.raw:
            self._image_hwc[...] = pixels
            return self._tensor
        for channel, table in enumerate(
            self._tables
        ):  # "clip" lets numpy write straight into `out`; no index is beyond 255
            np.take(table, pixels[:, :, channel], out=self._image_hwc[:, :, channel], mode="clip")
        return self._tensor
