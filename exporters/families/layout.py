"""A family's network at a width and a depth, laid out: blocks, and the layers a dialect's state dict must have.

Rounding: widths to the nearest multiple of 8, never below `round_limit` of the exact one (reference code,
`round_filters`; V2's base variants without that limit); repeats up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from edge_effnet.exporters.families.dialects import DIALECTS, Naming
from edge_effnet.exporters.families.records import BlockShape, Body, Family, Layer, Stage

#: Squeeze-excitation width as a share of the *block's input* channels (not of the expanded ones).
SE_RATIO = 0.25
_DIVISOR = 8


def round_channels(channels: float, *, limit: float = 0.9) -> int:
    """Nearest multiple of 8, never below `limit` of `channels`."""
    rounded = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < limit * channels else rounded


def stem_channels(family: Family, width: float) -> int:
    """Output channels of the 3×3/2 stem."""
    return round_channels(family.stem * (width if family.scaled_stem else 1), limit=family.round_limit)


def head_channels(family: Family, width: float, *, dialect: str) -> int:
    """Output channels of the 1×1 head; torchvision's B is four times as wide as its last stage."""
    if dialect == "torchvision" and family.name == "b":
        return 4 * round_channels(family.stages[-1].channels * width)
    return round_channels(family.head * (width if family.scaled_head else 1), limit=family.round_limit)


def stage_repeats(stage: Stage, depth: float) -> int:
    """Blocks of a stage; 1e-9 keeps 10 · 1.1 from becoming 12."""
    return stage.repeats if stage.fixed else math.ceil(stage.repeats * depth - 1e-9)


def body_of(family: Family, *, width: float, depth: float, dialect: str = "timm", in_channels: int = 3) -> Body:
    """The whole of a scaled network with a dialect's names."""
    stem, naming = stem_channels(family, width), DIALECTS[dialect]
    blocks = tuple(_blocks(family, width, depth, stem))
    head = head_channels(family, width, dialect=dialect)
    layers = tuple(_layers(naming, stem, blocks, head, len(family.stages), in_channels))
    return Body(in_channels, stem, blocks, head, layers)


def _blocks(family: Family, width: float, depth: float, stem: int) -> Iterator[BlockShape]:
    before = stem
    for index, stage in enumerate(family.stages):
        out = round_channels(stage.channels * width, limit=family.round_limit)
        for position in range(stage_repeats(stage, depth)):
            yield block_shape(family, index, position, before, out, width=width)
            before = out


def block_shape(family: Family, index: int, position: int, before: int, out: int, *, width: float) -> BlockShape:
    """One block of a stage, from `before` channels to `out`."""
    stage = family.stages[index]
    stride = stage.stride if position == 0 else 1
    basis = before
    if stage.forced_input is not None:
        basis = round_channels(stage.forced_input * width, limit=family.round_limit)
    return BlockShape(
        stage.kind,
        index,
        position,
        stage.kernel,
        before,
        out if stage.kind == "plain" else basis * stage.expand,
        out,
        max(1, int(before * SE_RATIO)) if stage.gated else 0,
        stride,
        has_skip(stage, stride, before, out),
    )


def has_skip(stage: Stage, stride: int, before: int, out: int) -> bool:
    """Whether a block's input is added to its output."""
    return stride == 1 and before == out and stage.forced_input is None


def _layers(
    naming: Naming, stem: int, blocks: tuple[BlockShape, ...], head: int, stages: int, in_channels: int
) -> Iterator[Layer]:
    yield Layer("stem", *naming.stem, (stem, in_channels, 3, 3))
    for index, block in enumerate(blocks):
        yield from block_layers(naming, block, index)
    conv, norm = (name.format(last=stages + naming.first_stage) for name in naming.head)
    yield Layer("head", conv, norm, (head, blocks[-1].out_channels, 1, 1))


def block_layers(naming: Naming, block: BlockShape, index: int) -> Iterator[Layer]:
    """A block's convolutions; none where the dialect has no such block."""
    shapes = _shapes(block)
    prefix = naming.prefix(block.stage, block.position, index)
    for part, (conv, norm) in naming.forms.get((block.kind, block.se_channels > 0), {}).items():
        batch_norm = None if norm is None else prefix + norm
        yield Layer(f"blocks.{index}.{part}", prefix + conv, batch_norm, shapes[part])


def _shapes(block: BlockShape) -> dict[str, tuple[int, ...]]:
    """Part → the weight's shape, in PyTorch's layout."""
    kernel = (block.kernel, block.kernel)
    opening = kernel if block.kind in ("fused", "plain") else (1, 1)
    return {
        "expand": (block.inner, block.in_channels, *opening),
        "depthwise": (block.inner, 1, *kernel),
        "se.reduce": (block.se_channels, block.inner, 1, 1),
        "se.expand": (block.inner, block.se_channels, 1, 1),
        "project": (block.out_channels, block.inner, 1, 1),
    }
