"""The one table of EfficientNet variants and the block layout each implies.

Source: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv 1905.11946), table 1 for the stages; the released reference code for the rounding of widths and depths.
Lite variants: "EfficientNet-lite" in the TensorFlow TPU repository (no squeeze-excitation, ReLU6, fixed stem and head).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

#: Stages of B0: (expand ratio, kernel, stride, output channels, repeats).
BASE_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
BASE_STEM_CHANNELS = 32
BASE_HEAD_CHANNELS = 1280
#: Squeeze-excitation width as a share of the *block's input* channels (not of the expanded ones).
SE_RATIO = 0.25


@dataclass(frozen=True)
class BlockSpec:
    """One MBConv block: `expanded_channels == in_channels` means it has no expand convolution."""

    stage: int
    position: int
    kernel: int
    stride: int
    in_channels: int
    expanded_channels: int
    out_channels: int
    se_channels: int

    @property
    def has_expand(self) -> bool:
        """Whether a 1×1 expand convolution opens the block."""
        return self.expanded_channels != self.in_channels

    @property
    def has_residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True)
class Variant:
    """The numbers of one EfficientNet variant.

    `parameters` counts the trainable values at 1,000 classes and is checked against the layout in the tests.
    """

    name: str
    width: float
    depth: float
    image_size: int
    family: Literal["b", "lite"]
    parameters: int

    @property
    def has_squeeze_excitation(self) -> bool:
        """Lite variants have none."""
        return self.family == "b"

    @property
    def activation(self) -> Literal["swish", "relu6"]:
        """The activation after every convolution but the projections."""
        return "swish" if self.family == "b" else "relu6"

    @property
    def stem_channels(self) -> int:
        """Output channels of the 3×3/2 stem."""
        return BASE_STEM_CHANNELS if self.family == "lite" else round_channels(BASE_STEM_CHANNELS * self.width)

    @property
    def head_channels(self) -> int:
        """Output channels of the 1×1 head; the width of the pooled features."""
        return BASE_HEAD_CHANNELS if self.family == "lite" else round_channels(BASE_HEAD_CHANNELS * self.width)

    def blocks(self) -> tuple[BlockSpec, ...]:
        """All MBConv blocks in order."""
        return tuple(_blocks(self))


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, never below 90 % of `channels` (reference code, `round_filters`)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _repeats(variant: Variant, stage: int) -> int:
    base = BASE_STAGES[stage][4]
    fixed = variant.family == "lite" and stage in (0, len(BASE_STAGES) - 1)
    return base if fixed else math.ceil(base * variant.depth)


def _blocks(variant: Variant) -> Iterator[BlockSpec]:
    in_channels = variant.stem_channels
    for stage, (expand, kernel, stride, base_channels, _) in enumerate(BASE_STAGES):
        out_channels = round_channels(base_channels * variant.width)
        for position in range(_repeats(variant, stage)):
            yield BlockSpec(
                stage=stage,
                position=position,
                kernel=kernel,
                stride=stride if position == 0 else 1,
                in_channels=in_channels,
                expanded_channels=in_channels * expand,
                out_channels=out_channels,
                se_channels=max(1, int(in_channels * SE_RATIO)) if variant.has_squeeze_excitation else 0,
            )
            in_channels = out_channels


_TABLE = (
    Variant("b0", 1.0, 1.0, 224, "b", 5_288_548),
    Variant("b1", 1.0, 1.1, 240, "b", 7_794_184),
    Variant("b2", 1.1, 1.2, 260, "b", 9_109_994),
    Variant("b3", 1.2, 1.4, 300, "b", 12_233_232),
    Variant("lite0", 1.0, 1.0, 224, "lite", 4_652_008),
    Variant("lite1", 1.0, 1.1, 240, "lite", 5_416_680),
    Variant("lite2", 1.1, 1.2, 260, "lite", 6_092_072),
    Variant("lite3", 1.2, 1.4, 300, "lite", 8_197_096),
    Variant("lite4", 1.4, 1.8, 380, "lite", 13_006_568),
)
#: Variant name → its numbers. `image_size` is timm's; Google's Lite3 and Lite4 run at 280 and 300.
VARIANTS = MappingProxyType({variant.name: variant for variant in _TABLE})
