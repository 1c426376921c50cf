"""Which width and depth, of which family, a body's channels and repeats follow from; or that they do from none."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters.families.layout import body_of, has_skip, round_channels
from edge_effnet.exporters.families.records import BlockShape, Body, Family
from edge_effnet.exporters.families.table import FAMILIES, variants_of
from edge_effnet.variants import Variant

#: Widths that are tried; rounding to 8 of 1,280 channels makes steps of 0.006.
_WIDTHS = np.arange(500, 60_001) / 10_000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Scaling:
    """A family with the width and depth read off, and the published variant of these, if there is one."""

    family: Family
    width: float
    depth: float
    variant: Variant | None

    @property
    def name(self) -> str:
        """The published variant's, or "b-w1.3-d1.6"."""
        return self.variant.name if self.variant else f"{self.family.name}-w{self.width:g}-d{self.depth:g}"


def kernels_of(body: Body) -> list[tuple[str, int, bool]]:
    """(kind, kernel, gated) of each stage, of its first block."""
    return [(block.kind, block.kernel, block.se_channels > 0) for block in body.blocks if block.position == 0]


def fitting_families(body: Body, dialect: str) -> list[Family]:
    """Families with these kinds of blocks, kernels and gates, stage by stage, in a dialect that has them."""
    found = kernels_of(body)
    return [
        family
        for family in FAMILIES.values()
        if dialect in family.rules and found == [(stage.kind, stage.kernel, stage.gated) for stage in family.stages]
    ]


def uneven_block(body: Body) -> str | None:
    """A block that is of another kind than the first of its stage, in words; None where all agree."""
    first = {block.stage: block for block in body.blocks if block.position == 0}
    for block in body.blocks:
        model = first.get(block.stage)
        where = f"block {block.position} of stage {block.stage}"
        if model is None:
            return f"stage {block.stage} doesn't begin with its block 0"
        if (block.kind, block.kernel, block.se_channels > 0) != (model.kind, model.kernel, model.se_channels > 0):
            return f"{where} is {_described(block)}, the first of the stage {_described(model)}"
    return None


def broken_chain(body: Body) -> str | None:
    """A block that doesn't take the channels the one before gives, in words."""
    before = body.stem
    for block in body.blocks:
        if block.in_channels != before:
            return (
                f"block {block.position} of stage {block.stage} takes {block.in_channels} channels, but gets {before}"
            )
        before = block.out_channels
    head = body.layers[-1].shape
    if head[1] != before or head[2] != 1:
        return f"{body.layers[-1].conv}.weight {list(head)}; expected {[head[0], before, 1, 1]}"
    return None


def _described(block: BlockShape) -> str:
    return f"{block.kind} {block.kernel}×{block.kernel}{' with' if block.se_channels else ' without'} a gate"


def scaling_of(body: Body, family: Family, dialect: str) -> Scaling | str:
    """Width and depth, or a sentence on what follows from none."""
    for variant in variants_of(family):
        if _same(body, body_of(family, width=variant.width, depth=variant.depth, dialect=dialect)):
            return Scaling(family, variant.width, variant.depth, variant)
    depth = _depth(body, family)
    if isinstance(depth, str):
        return depth
    width = _width(body, family, dialect)
    if isinstance(width, str):
        return width
    wrong = _expansion(body, family, width)
    return wrong if wrong else Scaling(family, width, depth, None)


def _same(body: Body, other: Body) -> bool:
    own = [(b.stage, b.position, b.in_channels, b.inner, b.out_channels) for b in body.blocks]
    return (body.stem, body.head, own) == (
        other.stem,
        other.head,
        [(b.stage, b.position, b.in_channels, b.inner, b.out_channels) for b in other.blocks],
    )


def _depth(body: Body, family: Family) -> float | str:
    counts = Counter(block.stage for block in body.blocks)
    repeats = [counts[index] for index in range(len(family.stages))]
    scaled = [(stage.repeats, found) for stage, found in zip(family.stages, repeats, strict=True) if not stage.fixed]
    low = max((found - 1) / base for base, found in scaled)
    high = min(found / base for base, found in scaled)
    fixed = all(found == stage.repeats for stage, found in zip(family.stages, repeats, strict=True) if stage.fixed)
    if low >= high - _ROUNDING or not fixed:
        return (
            f"its stages of {', '.join(map(str, repeats))} blocks follow from no depth of {family.title}'s "
            f"{', '.join(str(stage.repeats) for stage in family.stages)}"
        )
    return _plainest(low, high)


def _plainest(low: float, high: float) -> float:
    """The number with the fewest decimals in (low, high]."""
    for decimals in range(1, 7):
        value = math.floor(high * 10**decimals + 1e-6) / 10**decimals
        if value > low + _ROUNDING:
            return value
    return high


def _width(body: Body, family: Family, dialect: str) -> float | str:
    possible = np.ones(len(_WIDTHS), bool)
    last: dict[int, int] = {block.stage: block.out_channels for block in body.blocks}
    wanted = [(stage.channels, last[index], True) for index, stage in enumerate(family.stages)]
    wanted.append((family.stem, body.stem, family.scaled_stem))
    if not (dialect == "torchvision" and family.name == "b"):
        wanted.append((family.head, body.head, family.scaled_head))
    elif body.head != 4 * body.blocks[-1].out_channels:
        return (
            f"its head has {body.head} channels; expected {4 * body.blocks[-1].out_channels}, four times the last stage"
        )
    for base, found, scaled in wanted:
        fits = rounded_widths(base, family.round_limit) == found if scaled else np.full(len(_WIDTHS), base == found)
        possible &= fits
    if possible.any():
        return _plainest(float(_WIDTHS[possible][0]) - 1e-4, float(_WIDTHS[possible][-1]))
    return (
        f"its widths (stem {body.stem}, stages {', '.join(str(last[stage]) for stage in sorted(last))}, head "
        f"{body.head}) follow from no width of {family.title}'s (stem {family.stem}, stages "
        f"{', '.join(str(stage.channels) for stage in family.stages)}, head {family.head})"
    )


def rounded_widths(base: int, limit: float) -> npt.NDArray[np.int64]:
    """`round_channels(base * width)` for every width that is tried."""
    exact = base * _WIDTHS
    rounded = np.maximum(8, (exact + 4).astype(np.int64) // 8 * 8)
    return np.where(rounded < limit * exact, rounded + 8, rounded)


def _expansion(body: Body, family: Family, width: float) -> str | None:
    for block in body.blocks:
        stage = family.stages[block.stage]
        basis = block.in_channels
        if stage.forced_input is not None:
            basis = round_channels(stage.forced_input * width, limit=family.round_limit)
        if block.kind != "plain" and block.inner != basis * stage.expand:
            return (
                f"block {block.position} of stage {block.stage} is {block.inner} channels wide inside; expected "
                f"{stage.expand} times {basis}"
            )
    return None


def strided(body: Body, family: Family) -> tuple[BlockShape, ...]:
    """The blocks with what the family's table says of them: stride and skip."""
    found = []
    for block in body.blocks:
        stage = family.stages[block.stage]
        stride = stage.stride if block.position == 0 else 1
        found.append(replace(block, stride=stride, skip=has_skip(stage, stride, block.in_channels, block.out_channels)))
    return tuple(found)
