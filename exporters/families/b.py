"""EfficientNet B0–B8 and L2, and any compound scaling of them.

Sources: Tan & Le, ICML 2019 (arXiv 1905.11946), table 1; timm 1.0 `default_cfgs` and `_gen_efficientnet`; torchvision
`EfficientNet_*_Weights`; efficientnet-pytorch 0.7.1, README and `utils.py`.
"""

from __future__ import annotations

from edge_effnet.exporters.families.records import (
    HALVES,
    SAME,
    SAME_BAKED,
    SYMMETRIC,
    SYMMETRIC_TF_EPS,
    Family,
    Published,
    Stage,
)

_TIMM = {
    "b0": Published(224, 0.875),
    "b0.ra_in1k": Published(224, 0.875),
    "b0.ra4_e3600_r224_in1k": Published(224, 0.9, HALVES),
    "b1": Published(240, 0.875),
    "b1.ft_in1k": Published(224, 0.875),
    "b1.ra4_e3600_r240_in1k": Published(240, 0.9, HALVES),
    "b2": Published(256, 0.875),
    "b3": Published(288, 0.875),
    "b4": Published(320, 0.875),
    "b5": Published(448, 1.0, mode="squash"),
    "b5.sw_in12k": Published(416, 0.95),
    "b5.sw_in12k_ft_in1k": Published(448, 1.0, mode="squash"),
    "b6": Published(528, 0.942),
    "b7": Published(600, 0.949),
    "b8": Published(672, 0.954),
    "l2": Published(800, 0.961),
}
_TIMM_TF = {
    "b0": Published(224, 0.875),
    "b1": Published(240, 0.882),
    "b2": Published(260, 0.890),
    "b3": Published(300, 0.904),
    "b4": Published(380, 0.922),
    "b5": Published(456, 0.934),
    "b6": Published(528, 0.942),
    "b7": Published(600, 0.949),
    "b8": Published(672, 0.954),
    "l2": Published(800, 0.960),
    "l2.ns_jft_in1k_475": Published(475, 0.936),
    "b1_pruned": Published(240, 0.882, HALVES),
    "b2_pruned": Published(260, 0.890, HALVES),
    "b3_pruned": Published(300, 0.904, HALVES),
}
#: Crop and shorter side of torchvision's default weights.
_TORCHVISION = {
    "b0": Published(224, resize=256),
    "b1": Published(240, resize=255, interpolation="bilinear"),
    "b2": Published(288, resize=288),
    "b3": Published(300, resize=320),
    "b4": Published(380, resize=384),
    "b5": Published(456, resize=456),
    "b6": Published(528, resize=528),
    "b7": Published(600, resize=600),
}
_LUKEMELAS_SIZES = {
    "b0": 224,
    "b1": 240,
    "b2": 260,
    "b3": 300,
    "b4": 380,
    "b5": 456,
    "b6": 528,
    "b7": 600,
    "b8": 672,
    "l2": 800,
}

FAMILY = Family(
    "b",
    "EfficientNet",
    stages=(
        Stage("separable", 1, 3, 1, 16, 1, gated=True),
        Stage("mbconv", 6, 3, 2, 24, 2, gated=True),
        Stage("mbconv", 6, 5, 2, 40, 2, gated=True),
        Stage("mbconv", 6, 3, 2, 80, 3, gated=True),
        Stage("mbconv", 6, 5, 1, 112, 3, gated=True),
        Stage("mbconv", 6, 5, 2, 192, 4, gated=True),
        Stage("mbconv", 6, 3, 1, 320, 1, gated=True),
    ),
    activation="swish",
    stem=32,
    head=1280,
    rules={"timm": SYMMETRIC, "timm-tf": SAME, "torchvision": SYMMETRIC, "lukemelas": SAME_BAKED},
    exceptions={("torchvision", name): SYMMETRIC_TF_EPS for name in ("b5", "b6", "b7")},
    published={
        "timm": _TIMM,
        "timm-tf": _TIMM_TF
        | {
            f"{name}.ap_in1k": Published(p.image_size, p.crop_pct, HALVES)
            for name, p in _TIMM_TF.items()
            if name.startswith("b") and "_" not in name
        },
        "torchvision": _TORCHVISION,
        "lukemelas": {name: Published(size) for name, size in _LUKEMELAS_SIZES.items()},
    },
)
