"""EfficientNet-EdgeTPU es, em, el: fused blocks first, no squeeze-excitation, ReLU.

Sources: "EfficientNet-EdgeTPU" in the TensorFlow TPU repository; timm 1.0 `_gen_efficientnet_edge`, `default_cfgs`.
"""

from __future__ import annotations

from edge_effnet.exporters.families.records import HALVES, SAME, SYMMETRIC, Family, Published, Stage

_PREPARED = {"es": (224, 0.875), "em": (240, 0.882), "el": (300, 0.904)}

FAMILY = Family(
    "edgetpu",
    "EfficientNet-EdgeTPU",
    stages=(
        Stage("fused", 4, 3, 1, 24, 1, forced_input=24),
        Stage("fused", 8, 3, 2, 32, 2),
        Stage("fused", 8, 3, 2, 48, 4),
        Stage("mbconv", 8, 5, 2, 96, 5),
        Stage("mbconv", 8, 5, 1, 144, 4),
        Stage("mbconv", 8, 5, 2, 192, 2),
    ),
    activation="relu",
    stem=32,
    head=1280,
    rules={"timm": SYMMETRIC, "timm-tf": SAME},
    published={
        "timm": {name: Published(*prepared) for name, prepared in _PREPARED.items()}
        | {f"{name}_pruned": Published(*_PREPARED[name]) for name in ("es", "el")},
        "timm-tf": {name: Published(*prepared, HALVES) for name, prepared in _PREPARED.items()},
    },
)
