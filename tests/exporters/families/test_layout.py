"""A family's layout against published parameter counts and the implementations' shapes."""

from __future__ import annotations

import math

import pytest
from support.golden import NAMES, load_case
from support.reference import REPEATS, STRIDES

from edge_effnet import VARIANTS
from edge_effnet.exporters.families.layout import body_of, round_channels
from edge_effnet.exporters.families.records import Body
from edge_effnet.exporters.families.table import family_of


def body(name: str, dialect: str = "timm") -> Body:
    variant = VARIANTS[name]
    return body_of(family_of(variant), width=variant.width, depth=variant.depth, dialect=dialect)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_layout_has_the_published_parameters(name: str) -> None:
    laid_out = body(name)
    own = sum(math.prod(layer.shape) + layer.shape[0] * (2 if layer.norm else 1) for layer in laid_out.layers)
    assert own + 1000 * (laid_out.head + 1) == VARIANTS[name].parameters


@pytest.mark.parametrize("name", REPEATS)
def test_stages(name: str) -> None:
    blocks = body(name).blocks
    assert tuple(sum(block.stage == stage for block in blocks) for stage in range(7)) == REPEATS[name]
    assert all(block.stride == (STRIDES[block.stage] if block.position == 0 else 1) for block in blocks)
    assert [block.in_channels for block in blocks[1:]] == [block.out_channels for block in blocks[:-1]]
    assert all(block.skip == (block.position > 0) for block in blocks)
    assert [block.kind == "mbconv" for block in blocks] == [block.stage > 0 for block in blocks]


@pytest.mark.parametrize("case", NAMES)
def test_channels_are_those_of_the_implementations(case: str) -> None:
    """The depthwise and squeeze-excitation shapes of every golden case, in order."""
    keys, laid_out = load_case(case).keys, body(load_case(case).variant)
    depthwise = [shape for shape in keys.values() if len(shape) == 4 and shape[1] == 1]
    assert depthwise == [(b.inner, 1, b.kernel, b.kernel) for b in laid_out.blocks]
    squeezed = [
        shape[0] for key, shape in keys.items() if key.endswith(("conv_reduce.bias", "fc1.bias", "_se_reduce.bias"))
    ]
    assert squeezed == [block.se_channels for block in laid_out.blocks if block.se_channels]


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


def test_v2s_base_rounds_without_that_limit() -> None:
    assert round_channels(19.2, limit=0.0) == 16
    assert body("v2_b3").blocks[0].out_channels == 16


def test_lite_keeps_stem_and_head() -> None:
    assert {(body(f"lite{n}").stem, body(f"lite{n}").head) for n in range(5)} == {(32, 1280)}
    assert [body(f"b{n}").head for n in range(4)] == [1280, 1280, 1408, 1536]


def test_torchvisions_head_is_four_times_the_last_stage() -> None:
    family = family_of(VARIANTS["b0"])
    assert body_of(family, width=1.03, depth=1.0, dialect="torchvision").head == 1312
    assert body_of(family, width=1.03, depth=1.0, dialect="timm").head == 1320
