"""Writes resize.golden.json: small synthetic images as PIL resizes and crops them. Run where the project is
installed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from edge_effnet.cropping import resize_and_crop

#: (width, height, resize, crop, interpolation): smaller, larger, odd, very wide, very tall, unchanged.
CASES = (
    (40, 30, 12, 10, "bicubic"),
    (40, 30, 12, 10, "bilinear"),
    (9, 7, 16, 15, "bicubic"),
    (9, 7, 16, 15, "bilinear"),
    (33, 50, 17, 12, "bicubic"),
    (200, 3, 8, 7, "bicubic"),
    (3, 101, 6, 5, "bilinear"),
    (16, 16, 16, 16, "bicubic"),
    (1, 1, 4, 4, "bicubic"),
)


def synthetic(width: int, height: int) -> np.ndarray:
    """uint8[H, W, 3] without smoothness, so that overshoot is clipped on both sides; the test makes the same."""
    index = np.arange(width * height * 3, dtype=np.int64)
    return (
        ((index * 7919 % 251) // 125 * 127 + index * 104729 % 127)
        .clip(0, 255)
        .astype(np.uint8)
        .reshape(height, width, 3)
    )


def main() -> None:
    """Writes the file beside this one."""
    golden = []
    for width, height, resize, crop, interpolation in CASES:
        found = resize_and_crop(
            Image.fromarray(synthetic(width, height)), resize=resize, crop=crop, interpolation=interpolation
        )  # type: ignore[arg-type]
        pixels = np.asarray(found).reshape(-1).tolist()
        golden.append(
            {
                "width": width,
                "height": height,
                "resize": resize,
                "crop": crop,
                "interpolation": interpolation,
                "pixels": pixels,
            }
        )
    Path(__file__).with_name("resize.golden.json").write_text(
        json.dumps(golden, separators=(",", ":")) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
