"""PIL images of any mode to RGB, a band of rows at a time where that takes more than one copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

#: Pixels of a band.
_BAND = 1 << 20


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB: transparency laid on white, 16 bits reduced to 8. One in RGB is passed on.

    Raises ImageError for NaN or infinite pixels.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(image)
    if image.has_transparency_data:
        return _by_bands(image, "RGB", _on_white)
    return image.convert("RGB")


def _on_white(band: Image.Image) -> Image.Image:
    from PIL import Image

    band = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """From 16-bit (or deeper) grey: 65535 becomes 255; values that fit 8 bits stay as they are."""
    from PIL import Image

    top = 0.0
    for _, band in _bands(image):
        values = np.asarray(band, np.float64)
        if not np.isfinite(values).all():
            raise ImageError("image holds NaN or infinite pixels")
        top = max(top, float(values.max(initial=0.0)))
    scale = 1.0 if top <= 255 else 257.0 if top <= 65535 else top / 255.0

    def reduced(band: Image.Image) -> Image.Image:
        values: npt.NDArray[Any] = np.clip(np.rint(np.asarray(band, np.float64) / scale), 0, 255)
        return Image.fromarray(values.astype(np.uint8))

    return _by_bands(image, "L", reduced).convert("RGB")


def _by_bands(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert` makes of each band, put together."""
    from PIL import Image

    whole = Image.new(mode, image.size)
    for top, band in _bands(image):
        whole.paste(convert(band), (0, top))
    return whole


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """(first row, the rows) of about a million pixels each."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))
