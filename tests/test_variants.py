"""The table of variants against the paper's and the implementations' published numbers."""

from __future__ import annotations

import dataclasses

import pytest
from support.golden import NAMES, load_case
from support.reference import REPEATS, STRIDES

from edge_effnet import VARIANTS
from edge_effnet.variants import Variant, round_channels

#: tensorflow/tpu efficientnet_builder.py and lite's: width, depth, resolution; parameters at 1,000 classes.
PUBLISHED = {
    "b0": (1.0, 1.0, 224, 5_288_548),
    "b1": (1.0, 1.1, 240, 7_794_184),
    "b2": (1.1, 1.2, 260, 9_109_994),
    "b3": (1.2, 1.4, 300, 12_233_232),
    "lite0": (1.0, 1.0, 224, 4_652_008),
    "lite1": (1.0, 1.1, 240, 5_416_680),
    "lite2": (1.1, 1.2, 260, 6_092_072),
    "lite3": (1.2, 1.4, 300, 8_197_096),
    "lite4": (1.4, 1.8, 380, 13_006_568),
}


def test_the_table_is_the_published_one() -> None:
    assert {name: (v.width, v.depth, v.image_size, v.parameters) for name, v in VARIANTS.items()} == PUBLISHED
    assert all(variant.name == name for name, variant in VARIANTS.items())


def _parameters(variant: Variant, classes: int = 1000) -> int:
    total = variant.stem_channels * (27 + 2)
    for block in variant.blocks():
        wide = block.expanded_channels
        total += wide * (block.in_channels + 2) if block.has_expand else 0
        total += wide * (block.kernel**2 + 2) + block.out_channels * (wide + 2)
        total += block.se_channels * (2 * wide + 1) + wide if block.se_channels else 0
    last = variant.blocks()[-1].out_channels
    return total + variant.head_channels * (last + 2) + classes * (variant.head_channels + 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_layout_has_the_published_parameters(name: str) -> None:
    assert _parameters(VARIANTS[name]) == VARIANTS[name].parameters


@pytest.mark.parametrize("name", VARIANTS)
def test_stages(name: str) -> None:
    blocks = VARIANTS[name].blocks()
    assert tuple(sum(block.stage == stage for block in blocks) for stage in range(7)) == REPEATS[name]
    assert all(block.stride == (STRIDES[block.stage] if block.position == 0 else 1) for block in blocks)
    assert [block.in_channels for block in blocks[1:]] == [block.out_channels for block in blocks[:-1]]
    assert all(block.has_residual == (block.position > 0) for block in blocks)
    assert [block.has_expand for block in blocks] == [block.stage > 0 for block in blocks]


@pytest.mark.parametrize("case", NAMES)
def test_channels_are_those_of_the_implementations(case: str) -> None:
    """The depthwise and squeeze-excitation shapes of every golden case, in order."""
    keys = load_case(case).keys
    variant = VARIANTS[load_case(case).variant]
    depthwise = [shape for shape in keys.values() if len(shape) == 4 and shape[1] == 1]
    assert depthwise == [(b.expanded_channels, 1, b.kernel, b.kernel) for b in variant.blocks()]
    squeezed = [
        shape[0] for key, shape in keys.items() if key.endswith(("conv_reduce.bias", "fc1.bias", "_se_reduce.bias"))
    ]
    assert squeezed == [block.se_channels for block in variant.blocks() if block.se_channels]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (32, 32),
        (35.2, 32),
        (38.4, 40),
        (17.6, 16),
        (19.2, 24),
        (26.4, 24),
        (105.6, 104),
        (1, 8),
        (11, 16),
        (12, 16),
        (11.9, 16),
        (0, 8),
    ],
)
def test_channels_round_to_eights_but_never_below_nine_tenths(channels: float, expected: int) -> None:
    assert round_channels(channels) == expected


def test_lite_keeps_stem_and_head() -> None:
    assert {(v.stem_channels, v.head_channels) for v in VARIANTS.values() if v.family == "lite"} == {(32, 1280)}
    assert [VARIANTS[f"b{n}"].head_channels for n in range(4)] == [1280, 1280, 1408, 1536]
    assert [(v.activation, v.has_squeeze_excitation) for v in (VARIANTS["b0"], VARIANTS["lite0"])] == [
        ("swish", True),
        ("relu6", False),
    ]


def test_neither_the_table_nor_a_variant_can_be_changed() -> None:
    with pytest.raises(TypeError):
        VARIANTS["b0"] = VARIANTS["b1"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        VARIANTS["b0"].width = 2.0  # type: ignore[misc]
