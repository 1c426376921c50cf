"""A frame as JPEG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.live.frames import Frame

#: Of pictures that are sent on for people to see, and of those that are watched.
KEPT_QUALITY, WATCHED_QUALITY = 90, 75
#: Of pictures that a network may learn from: what it sees live isn't compressed. At quality 90 and with colours at half
#: the size, 19 of 30 live frames of a dark scene (320×240) resembled their own photos too little to be known; with this
#: none. 130 KB for 640×480.
_LEARNED_QUALITY = 97
_LEARNED_WIDEST = 1280


def encode_jpeg(frame: Frame, *, widest: int, quality: int = WATCHED_QUALITY) -> bytes:
    """JPEG of at most `widest` pixels' width; wider frames are made smaller, by whole factors."""
    return _encoded(frame.image, widest, quality=quality)


def encode_to_learn_from(image: npt.NDArray[np.uint8]) -> bytes:
    """JPEG of uint8[H, W, 3], of at most 1,280 pixels' width, that is as the network sees it."""
    return _encoded(image, _LEARNED_WIDEST, quality=_LEARNED_QUALITY, subsampling=0)


def _encoded(array: npt.NDArray[np.uint8], widest: int, **options: Any) -> bytes:
    from PIL import Image

    image = Image.fromarray(array)
    if image.width > widest:
        image = image.reduce(-(-image.width // widest))
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()
