"""The table of variants against the paper's and the implementations' published numbers."""

from __future__ import annotations

import dataclasses

import pytest

from edge_effnet import VARIANTS

#: tensorflow/tpu efficientnet_builder.py and lite's: width, depth, resolution.
PUBLISHED = {
    "b0": (1.0, 1.0, 224),
    "b1": (1.0, 1.1, 240),
    "b2": (1.1, 1.2, 260),
    "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380),
    "b5": (1.6, 2.2, 456),
    "b6": (1.8, 2.6, 528),
    "b7": (2.0, 3.1, 600),
    "b8": (2.2, 3.6, 672),
    "l2": (4.3, 5.3, 800),
    "lite0": (1.0, 1.0, 224),
    "lite1": (1.0, 1.1, 240),
    "lite2": (1.1, 1.2, 260),
    "lite3": (1.2, 1.4, 300),
    "lite4": (1.4, 1.8, 380),
}


def test_the_table_is_the_published_one() -> None:
    found = {name: (v.width, v.depth, v.image_size) for name, v in VARIANTS.items() if name in PUBLISHED}
    assert found == PUBLISHED
    assert all(variant.name == name for name, variant in VARIANTS.items())


def test_neither_the_table_nor_a_variant_can_be_changed() -> None:
    with pytest.raises(TypeError):
        VARIANTS["b0"] = VARIANTS["b1"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        VARIANTS["b0"].width = 2.0  # type: ignore[misc]
