"""Small made-up photos."""

from __future__ import annotations

import numpy as np
from PIL import Image


def synthetic_photo(seed: int, width: int = 80, height: int = 64) -> Image.Image:
    """Smooth colours with some noise, the same for the same seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = random.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse, np.int16) + grain, 0, 255).astype(np.uint8))
