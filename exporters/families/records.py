"""What a family's file says: stages, their scaling, and what tensors can't tell (stride, padding, eps, activation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters.inputs.stored import Tensor
from edge_effnet.framing import ResizeMode
from edge_effnet.network.activations import Kind
from edge_effnet.preprocessing import HALF, IMAGENET_MEAN, IMAGENET_STD, Interpolation, Triple

PaddingRule: TypeAlias = Literal["symmetric", "same", "same-baked"]
#: "mbconv" expands 1×1 and goes on depthwise; "separable" doesn't expand; "fused" expands k×k; "plain" is one k×k.
BlockKind: TypeAlias = Literal["mbconv", "separable", "fused", "plain"]
Statistics: TypeAlias = tuple[Triple, Triple]

IMAGENET: Statistics = (IMAGENET_MEAN, IMAGENET_STD)
HALVES: Statistics = (HALF, HALF)


@dataclass(frozen=True)
class Rules:
    """How an implementation pads, and its batch norm's eps.

    padding: "symmetric" (k//2), "same" (TensorFlow's, for the size at hand) or "same-baked" (TensorFlow's, fixed for
    the size the model was built for).
    """

    padding: PaddingRule
    bn_eps: float


SYMMETRIC = Rules("symmetric", 1e-5)
SYMMETRIC_TF_EPS = Rules("symmetric", 1e-3)
SAME = Rules("same", 1e-3)
SAME_BAKED = Rules("same-baked", 1e-3)


@dataclass(frozen=True)
class Stage:
    """Blocks of one width at width and depth 1.

    expand: inner channels as a multiple of the block's input. forced_input: of this many, scaled, instead (EdgeTPU's
    first block, which has no skip either). gated: whether there is squeeze-excitation. fixed: repeats aren't scaled.
    """

    kind: BlockKind
    expand: int
    kernel: int
    stride: int
    channels: int
    repeats: int
    gated: bool = False
    forced_input: int | None = None
    fixed: bool = False


@dataclass(frozen=True)
class Published:
    """How a published checkpoint's photos are prepared: side of the input, share that the crop keeps, and the rest.

    resize: pixels of the shorter side, where a published recipe says it instead of a share.
    """

    image_size: int
    crop_pct: float = 1.0
    statistics: Statistics = IMAGENET
    interpolation: Interpolation = "bicubic"
    mode: ResizeMode = "shorter"
    resize: int | None = None


@dataclass(frozen=True)
class Family:
    """One architecture that width and depth scale.

    round_limit: a rounded width is never below this share of the exact one. scaled_ends: whether stem and head follow
    the width. rules: dialect → padding and eps, `exceptions` for single variants. published: dialect → variant or
    "variant.tag" → preparation; the first of a variant is its default.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    activation: Kind
    stem: int
    head: int
    rules: Mapping[str, Rules]
    published: Mapping[str, Mapping[str, Published]]
    scaled_stem: bool = True
    scaled_head: bool = True
    round_limit: float = 0.9
    exceptions: Mapping[tuple[str, str], Rules] = field(default_factory=lambda: MappingProxyType({}))

    def rules_of(self, dialect: str, variant: str | None) -> Rules:
        """Padding and eps of an implementation's variant."""
        return self.exceptions.get((dialect, variant or ""), self.rules[dialect])


@dataclass(frozen=True)
class Layer:
    """One convolution: canonical name, the dialect's convolution and batch-norm prefixes, the weight's shape.

    `norm` is None for a convolution with a bias of its own (squeeze-excitation).
    """

    name: str
    conv: str
    norm: str | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class BlockShape:
    """One block as its tensors say it, with the stride and the skip that they can't say."""

    kind: BlockKind
    stage: int
    position: int
    kernel: int
    in_channels: int
    inner: int
    out_channels: int
    se_channels: int
    stride: int = 1
    skip: bool = False


@dataclass(frozen=True)
class Body:
    """Everything between the image and the pooled features. layers: in order, by their canonical names."""

    in_channels: int
    stem: int
    blocks: tuple[BlockShape, ...]
    head: int
    layers: tuple[Layer, ...]


Weights: TypeAlias = Mapping[str, Tensor]
FloatWeights: TypeAlias = dict[str, npt.NDArray[np.float32]]
