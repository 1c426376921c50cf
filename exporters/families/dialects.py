"""How each implementation names its tensors, pads its convolutions and prepares its photos.

Canonical names: `stem`, `blocks.N.expand|depthwise|se.reduce|se.expand|project`, `head`, `classifier`; each followed
by `.weight`, `.bias` or `.bn.weight|bias|running_mean|running_var`.
Sources: timm 1.0 (`efficientnet_builder.py`, `efficientnet.py`), torchvision 0.28 (`models/efficientnet.py`),
efficientnet-pytorch 0.7.1 (`model.py`, `utils.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from edge_effnet.preprocessing import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
    Triple,
    resize_for_crop_pct,
)
from edge_effnet.variants import BlockSpec, Variant

PaddingRule: TypeAlias = Literal["symmetric", "same", "same-baked"]
Shape: TypeAlias = tuple[int, ...]
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Layer:
    """One convolution: canonical name, the dialect's convolution and batch-norm prefixes, the weight's shape.

    `norm` is None for a convolution with a bias of its own (squeeze-excitation).
    """

    name: str
    conv: str
    norm: str | None
    shape: Shape


@dataclass(frozen=True)
class Dialect:
    """What an implementation's checkpoints mean.

    padding: "symmetric" (k//2), "same" (TensorFlow's, for the size at hand) or "same-baked" (TensorFlow's, fixed for
    the size the model was built for). classifier: prefix under which the last linear layer lies.
    """

    name: str
    padding: PaddingRule
    bn_eps: float
    classifier: str
    layers: Callable[[Variant], Iterator[Layer]]

    def preprocessing(self, variant: Variant, image_size: int) -> Preprocessing:
        """The published default for this variant, scaled to `image_size`."""
        return _default_preprocessing(self.name, variant, image_size)

    def native_image_size(self, variant: Variant) -> int:
        """The resolution the implementation builds this variant for."""
        sizes = _NATIVE_SIZES.get(self.name, {})
        return sizes.get(variant.name, variant.image_size)


def _pointwise(name: str, conv: str, norm: str | None, channels_in: int, channels_out: int) -> Layer:
    return Layer(name, conv, norm, (channels_out, channels_in, 1, 1))


def _block(prefix: str, block: BlockSpec, names: Mapping[str, tuple[str, str | None]]) -> Iterator[Layer]:
    wide = block.expanded_channels
    if block.has_expand:
        yield _pointwise(f"{prefix}.expand", *names["expand"], block.in_channels, wide)
    yield Layer(f"{prefix}.depthwise", *names["depthwise"], (wide, 1, block.kernel, block.kernel))
    if block.se_channels:
        yield _pointwise(f"{prefix}.se.reduce", *names["se.reduce"], wide, block.se_channels)
        yield _pointwise(f"{prefix}.se.expand", *names["se.expand"], block.se_channels, wide)
    yield _pointwise(f"{prefix}.project", *names["project"], wide, block.out_channels)


def _ends(variant: Variant, stem: tuple[str, str], head: tuple[str, str]) -> tuple[Layer, Layer]:
    last = variant.blocks()[-1].out_channels
    return (
        Layer("stem", *stem, (variant.stem_channels, 3, 3, 3)),
        _pointwise("head", *head, last, variant.head_channels),
    )


def _timm_layers(variant: Variant) -> Iterator[Layer]:
    stem, head = _ends(variant, ("conv_stem", "bn1"), ("conv_head", "bn2"))
    yield stem
    for index, block in enumerate(variant.blocks()):
        at = f"blocks.{block.stage}.{block.position}"
        first, second, third = f"{at}.bn1", f"{at}.bn2", f"{at}.bn3"
        names: dict[str, tuple[str, str | None]] = {
            "expand": (f"{at}.conv_pw", first),
            "depthwise": (f"{at}.conv_dw", second if block.has_expand else first),
            "se.reduce": (f"{at}.se.conv_reduce", None),
            "se.expand": (f"{at}.se.conv_expand", None),
            "project": (f"{at}.conv_pwl", third) if block.has_expand else (f"{at}.conv_pw", second),
        }
        yield from _block(f"blocks.{index}", block, names)
    yield head


def _torchvision_layers(variant: Variant) -> Iterator[Layer]:
    stem, head = _ends(variant, ("features.0.0", "features.0.1"), ("features.8.0", "features.8.1"))
    yield stem
    for index, block in enumerate(variant.blocks()):
        at = f"features.{block.stage + 1}.{block.position}.block"
        depthwise = int(block.has_expand)
        squeeze = depthwise + 1
        project = squeeze + int(block.se_channels > 0)
        names: dict[str, tuple[str, str | None]] = {
            "expand": (f"{at}.0.0", f"{at}.0.1"),
            "depthwise": (f"{at}.{depthwise}.0", f"{at}.{depthwise}.1"),
            "se.reduce": (f"{at}.{squeeze}.fc1", None),
            "se.expand": (f"{at}.{squeeze}.fc2", None),
            "project": (f"{at}.{project}.0", f"{at}.{project}.1"),
        }
        yield from _block(f"blocks.{index}", block, names)
    yield head


def _lukemelas_layers(variant: Variant) -> Iterator[Layer]:
    stem, head = _ends(variant, ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    yield stem
    for index, block in enumerate(variant.blocks()):
        at = f"_blocks.{index}"
        names: dict[str, tuple[str, str | None]] = {
            "expand": (f"{at}._expand_conv", f"{at}._bn0"),
            "depthwise": (f"{at}._depthwise_conv", f"{at}._bn1"),
            "se.reduce": (f"{at}._se_reduce", None),
            "se.expand": (f"{at}._se_expand", None),
            "project": (f"{at}._project_conv", f"{at}._bn2"),
        }
        yield from _block(f"blocks.{index}", block, names)
    yield head


_LIST = (
    Dialect("timm", "symmetric", 1e-5, "classifier", _timm_layers),
    Dialect("timm-tf", "same", 1e-3, "classifier", _timm_layers),
    Dialect("torchvision", "symmetric", 1e-5, "classifier", _torchvision_layers),
    Dialect("lukemelas", "same-baked", 1e-3, "_fc", _lukemelas_layers),
)
#: Name → dialect. timm and timm-tf have the same keys and shapes: a file alone can't tell them apart.
DIALECTS = MappingProxyType({dialect.name: dialect for dialect in _LIST})

#: Where an implementation's resolution differs from the variant table's.
_NATIVE_SIZES: Mapping[str, Mapping[str, int]] = {
    "timm": {"b2": 256, "b3": 288},
    "torchvision": {"b2": 288},
    "lukemelas": {"lite3": 280, "lite4": 300},
}

_TIMM_TF_CROP_PCT = {"b0": 0.875, "b1": 0.882, "b2": 0.890, "b3": 0.904}
_TIMM_LITE_CROP_PCT = {"lite0": 0.875, "lite1": 0.882, "lite2": 0.890, "lite3": 0.904, "lite4": 0.920}
#: torchvision's default weights: shorter side before the crop, at the native size.
_TORCHVISION_RESIZE = {"b0": (256, 224), "b1": (255, 240), "b2": (288, 288), "b3": (320, 300)}


def _default_preprocessing(dialect: str, variant: Variant, size: int) -> Preprocessing:
    """Published evaluation settings (timm `default_cfgs`, torchvision `*_Weights`, efficientnet-pytorch README)."""
    mean, std = _statistics(dialect, variant)
    return Preprocessing(_resize(dialect, variant, size), size, _interpolation(dialect, variant), mean, std)


def _statistics(dialect: str, variant: Variant) -> tuple[Triple, Triple]:
    half = variant.family == "lite" and dialect != "timm"
    return (HALF, HALF) if half else (IMAGENET_MEAN, IMAGENET_STD)


def _interpolation(dialect: str, variant: Variant) -> Interpolation:
    bilinear = (dialect, variant.name) == ("torchvision", "b1") or variant.name in ("lite3", "lite4")
    return "bilinear" if bilinear else "bicubic"


def _resize(dialect: str, variant: Variant, size: int) -> int:
    if dialect == "torchvision":
        resize, crop = _TORCHVISION_RESIZE[variant.name]
        return size * resize // crop
    if variant.family == "lite":
        return resize_for_crop_pct(size, _TIMM_LITE_CROP_PCT[variant.name])
    if dialect == "lukemelas":
        return size
    return resize_for_crop_pct(size, 0.875 if dialect == "timm" else _TIMM_TF_CROP_PCT[variant.name])


@dataclass(frozen=True)
class ModelName:
    """What a published model name says: dialect, and statistics where they differ from the dialect's default."""

    dialect: str
    variant: str
    statistics: tuple[Triple, Triple] | None = None
    crop_pct: float | None = None


def parse_model_name(name: str) -> ModelName | None:
    """Reads `tf_efficientnet_b0.ap_in1k`, `efficientnet_b1`, `efficientnet-b2` …; None for anything else.

    The tags `ap_…` (AdvProp) and `ra4_…` of timm mean 0.5 / 0.5 statistics, `ra4_…` a crop of 0.9.
    """
    found = re.fullmatch(r"(tf_)?efficientnet([_-])(b[0-3]|lite[0-4])(?:[._](\w+))?", name.strip().lower())
    if not found:
        return None
    tensorflow, separator, variant, tag = found.groups()
    dialect = "timm-tf" if tensorflow else "timm" if separator == "_" else "lukemelas"
    tag = tag or ""
    half = tag.startswith("ap") or tag.startswith("ra4")
    return ModelName(dialect, variant, (HALF, HALF) if half else None, 0.9 if tag.startswith("ra4") else None)
