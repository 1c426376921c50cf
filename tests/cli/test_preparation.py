"""What is said of how photos are prepared for a file of another maker."""

from __future__ import annotations

import pytest

from edge_effnet.cli.preparation import how_prepared
from edge_effnet.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Triple


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ((0.0,) * 3, (1 / 255,) * 3, "pixels in 0..255;"),
        ((0.0,) * 3, (1.0,) * 3, "pixels in 0..1;"),
        ((0.5,) * 3, (0.5,) * 3, "pixels in -1..1;"),
        (IMAGENET_MEAN, IMAGENET_STD, "pixels of mean 0.485/0.456/0.406 and std 0.229/0.224/0.225 in 0..1;"),
    ],
)
def test_pixels_are_named_as_the_option_names_them(mean: Triple, std: Triple, expected: str) -> None:
    said = how_prepared(Preprocessing(72, 64, mean=mean, std=std))
    assert "photos are resized to 72×72 (shorter, bicubic) and cropped to 64×64" in said
    assert expected in said
