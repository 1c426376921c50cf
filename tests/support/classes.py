"""Folders of small photos of classes that even untrained networks tell apart: by their colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"moss": (40, 160, 60), "rust": (170, 70, 30), "sea": (20, 70, 190)}


def class_photo(label: str, seed: int) -> Image.Image:
    """A noisy patch of the class's colour, the same for the same seed."""
    random = np.random.default_rng([seed, *COLOURS[label]])
    colour = np.asarray(COLOURS[label]) + random.normal(0, 25, 3)
    grain = random.normal(0, 30, (72, 72, 3))
    return Image.fromarray(np.clip(colour + grain, 0, 255).astype(np.uint8))


def class_folder(folder: Path, *, photos: int = 8, labels: tuple[str, ...] = tuple(COLOURS), first: int = 0) -> Path:
    """A folder a class, each with so many PNGs."""
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + photos):
            class_photo(label, seed).save(folder / label / f"{seed}.png")
    return folder
