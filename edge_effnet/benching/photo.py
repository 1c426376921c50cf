"""The photo that is measured on when none is given."""

from __future__ import annotations

import io

import numpy as np

WIDTH, HEIGHT = 640, 480
NAME = f"made up, {WIDTH}×{HEIGHT} JPEG"
_QUALITY = 90
#: Side of the noise's squares in pixels → its strength in levels: about what a photo has of each size.
_OCTAVES = {160: 60.0, 40: 30.0, 10: 14.0, 2: 6.0}


def made_up_photo() -> bytes:
    """A JPEG, the same each time (with the same Pillow): noise of several sizes, about 0.1 MB like a photo of its
    size.
    """
    from PIL import Image

    random = np.random.default_rng(0)
    levels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for side, strength in _OCTAVES.items():
        for channel in range(3):
            coarse = Image.fromarray(random.standard_normal((HEIGHT // side, WIDTH // side)).astype(np.float32))
            levels[:, :, channel] += strength * np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
