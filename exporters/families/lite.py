"""EfficientNet-Lite0–4: no squeeze-excitation, ReLU6, stem and head as wide as they are, the ends as deep.

Sources: "EfficientNet-lite" in the TensorFlow TPU repository; timm 1.0 `_gen_efficientnet_lite` and `default_cfgs`;
the PyPI packages of efficientnet-pytorch's form run at Google's 280 and 300 px.
"""

from __future__ import annotations

from edge_effnet.exporters.families.records import HALVES, SAME, SAME_BAKED, SYMMETRIC, Family, Published, Stage

_CROPS = {"lite0": 0.875, "lite1": 0.882, "lite2": 0.890, "lite3": 0.904, "lite4": 0.920}
_SIZES = {"lite0": 224, "lite1": 240, "lite2": 260, "lite3": 300, "lite4": 380}
_GOOGLES = {**_SIZES, "lite3": 280, "lite4": 300}
_BILINEAR = ("lite3", "lite4")

FAMILY = Family(
    "lite",
    "EfficientNet",
    stages=(
        Stage("separable", 1, 3, 1, 16, 1, fixed=True),
        Stage("mbconv", 6, 3, 2, 24, 2),
        Stage("mbconv", 6, 5, 2, 40, 2),
        Stage("mbconv", 6, 3, 2, 80, 3),
        Stage("mbconv", 6, 5, 1, 112, 3),
        Stage("mbconv", 6, 5, 2, 192, 4),
        Stage("mbconv", 6, 3, 1, 320, 1, fixed=True),
    ),
    activation="relu6",
    stem=32,
    head=1280,
    scaled_stem=False,
    scaled_head=False,
    rules={"timm": SYMMETRIC, "timm-tf": SAME, "lukemelas": SAME_BAKED},
    published={
        "timm": {name: Published(_SIZES[name], crop) for name, crop in (_CROPS | {"lite4": 0.922}).items()},
        "timm-tf": {
            name: Published(_SIZES[name], crop, HALVES, "bilinear" if name in _BILINEAR else "bicubic")
            for name, crop in _CROPS.items()
        },
        "lukemelas": {
            name: Published(_GOOGLES[name], crop, HALVES, "bilinear" if name in _BILINEAR else "bicubic")
            for name, crop in _CROPS.items()
        },
    },
)
