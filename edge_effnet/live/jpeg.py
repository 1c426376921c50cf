"""A frame as JPEG."""

from __future__ import annotations

import io

from edge_effnet.live.frames import Frame

#: Of pictures that are kept or sent on, and of those that are watched.
KEPT_QUALITY, WATCHED_QUALITY = 90, 75


def encode_jpeg(frame: Frame, *, widest: int, quality: int = WATCHED_QUALITY) -> bytes:
    """JPEG of at most `widest` pixels' width; wider frames are made smaller, by whole factors."""
    from PIL import Image

    image = Image.fromarray(frame.image)
    if image.width > widest:
        image = image.reduce(-(-image.width // widest))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
