"""EfficientNetV2: b0–b3, s, m, l, xl, and timm's rw_t, rw_s, rw_m.

Sources: Tan & Le, ICML 2021 (arXiv 2104.00298); timm 1.0 `_gen_efficientnetv2_base|s|m|l|xl` and `default_cfgs`;
torchvision `EfficientNet_V2_*_Weights`.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_effnet.exporters.families.records import (
    HALVES,
    SAME,
    SYMMETRIC,
    SYMMETRIC_TF_EPS,
    BlockKind,
    Family,
    Published,
    Stage,
)

_RULES = {"timm": SYMMETRIC, "timm-tf": SAME, "torchvision": SYMMETRIC_TF_EPS}
_SQUASHED = Published(384, 1.0, HALVES, mode="squash")

_BASE = {
    "v2_b0": Published(192, 0.875),
    "v2_b1": Published(192, 0.882),
    "v2_b2": Published(208, 0.890),
    "v2_b3": Published(240, 0.904),
    "v2_b3.in21k": Published(240, 0.904, HALVES),
    "v2_b3.in21k_ft_in1k": Published(240, 0.9, HALVES, mode="squash"),
}


def _stages(first: BlockKind, *rows: tuple[int, int, int, int, int]) -> tuple[Stage, ...]:
    """(expand, kernel, stride, channels, repeats) of the first stage, two fused ones, and gated MBConv."""
    kinds: list[BlockKind] = [first, "fused", "fused"]
    kinds += ["mbconv"] * (len(rows) - 3)
    return tuple(Stage(kind, *row, gated=kind == "mbconv") for kind, row in zip(kinds, rows, strict=True))


def _family(
    name: str,
    stages: tuple[Stage, ...],
    published: Mapping[str, Mapping[str, Published]],
    *,
    stem: int = 24,
    head: int = 1280,
    scaled_head: bool = False,
    round_limit: float = 0.9,
) -> Family:
    return Family(
        name,
        "EfficientNetV2",
        stages,
        "swish",
        stem,
        head,
        rules=_RULES,
        published=published,
        scaled_head=scaled_head,
        round_limit=round_limit,
    )


FAMILIES = (
    _family(
        "v2-b",
        _stages(
            "plain",
            (1, 3, 1, 16, 1),
            (4, 3, 2, 32, 2),
            (4, 3, 2, 48, 2),
            (4, 3, 2, 96, 3),
            (6, 3, 1, 112, 5),
            (6, 3, 2, 192, 8),
        ),
        {"timm-tf": _BASE, "timm": {}},
        stem=32,
        scaled_head=True,
        round_limit=0.0,
    ),
    _family(
        "v2-s",
        _stages(
            "plain",
            (1, 3, 1, 24, 2),
            (4, 3, 2, 48, 4),
            (4, 3, 2, 64, 4),
            (4, 3, 2, 128, 6),
            (6, 3, 1, 160, 9),
            (6, 3, 2, 256, 15),
        ),
        {
            "timm": {"v2_s": Published(288, 1.0), "v2_rw_t": Published(224, 1.0)},
            "timm-tf": {"v2_s": Published(300, 1.0, HALVES)},
            "torchvision": {"v2_s": Published(384, resize=384, interpolation="bilinear")},
        },
        scaled_head=True,
    ),
    _family(
        "v2-rw-s",
        _stages(
            "fused",
            (1, 3, 1, 24, 2),
            (4, 3, 2, 48, 4),
            (4, 3, 2, 64, 4),
            (4, 3, 2, 128, 6),
            (6, 3, 1, 160, 9),
            (6, 3, 2, 272, 15),
        ),
        {"timm": {"v2_rw_s": Published(288, 1.0)}},
        head=1792,
        scaled_head=True,
    ),
    _family(  # rw_s at width 1.2, its first four stages at depth 1.2 and the others at 1.6
        "v2-rw-m",
        _stages(
            "fused",
            (1, 3, 1, 24, 3),
            (4, 3, 2, 48, 5),
            (4, 3, 2, 64, 5),
            (4, 3, 2, 128, 8),
            (6, 3, 1, 160, 15),
            (6, 3, 2, 272, 24),
        ),
        {"timm": {"v2_rw_m": Published(320, 1.0)}},
        head=1792,
        scaled_head=True,
    ),
    _family(
        "v2-m",
        _stages(
            "plain",
            (1, 3, 1, 24, 3),
            (4, 3, 2, 48, 5),
            (4, 3, 2, 80, 5),
            (4, 3, 2, 160, 7),
            (6, 3, 1, 176, 14),
            (6, 3, 2, 304, 18),
            (6, 3, 1, 512, 5),
        ),
        {
            "timm": {"v2_m": Published(320, 1.0)},
            "timm-tf": {"v2_m": _SQUASHED},
            "torchvision": {"v2_m": Published(480, resize=480, interpolation="bilinear")},
        },
    ),
    _family(
        "v2-l",
        _stages(
            "plain",
            (1, 3, 1, 32, 4),
            (4, 3, 2, 64, 7),
            (4, 3, 2, 96, 7),
            (4, 3, 2, 192, 10),
            (6, 3, 1, 224, 19),
            (6, 3, 2, 384, 25),
            (6, 3, 1, 640, 7),
        ),
        {
            "timm": {"v2_l": Published(384, 1.0)},
            "timm-tf": {"v2_l": _SQUASHED},
            "torchvision": {"v2_l": Published(480, resize=480, statistics=HALVES)},
        },
        stem=32,
    ),
    _family(
        "v2-xl",
        _stages(
            "plain",
            (1, 3, 1, 32, 4),
            (4, 3, 2, 64, 8),
            (4, 3, 2, 96, 8),
            (4, 3, 2, 192, 16),
            (6, 3, 1, 256, 24),
            (6, 3, 2, 512, 32),
            (6, 3, 1, 640, 8),
        ),
        {"timm-tf": {"v2_xl": _SQUASHED}, "timm": {}},
        stem=32,
    ),
)
