"""The one table of published EfficientNets: whose stages they scale, and by how much.

Sources: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019
(arXiv 1905.11946), and "EfficientNetV2", ICML 2021 (arXiv 2104.00298); "EfficientNet-lite" and "EfficientNet-EdgeTPU"
in the TensorFlow TPU repository; timm's `efficientnet.py` for V2's rw variants. What a family's stages, activation
and squeeze-excitation are stands in `edge_effnet.exporters.families`, one file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Variant:
    """The numbers of one published network.

    family: whose stages it scales. width, depth: factors of channels and of repeats. image_size: pixels a side,
    as first published. parameters: trainable values at 1,000 classes.
    """

    name: str
    family: str
    width: float
    depth: float
    image_size: int
    parameters: int


_TABLE = (
    Variant("b0", "b", 1.0, 1.0, 224, 5_288_548),
    Variant("b1", "b", 1.0, 1.1, 240, 7_794_184),
    Variant("b2", "b", 1.1, 1.2, 260, 9_109_994),
    Variant("b3", "b", 1.2, 1.4, 300, 12_233_232),
    Variant("b4", "b", 1.4, 1.8, 380, 19_341_616),
    Variant("b5", "b", 1.6, 2.2, 456, 30_389_784),
    Variant("b6", "b", 1.8, 2.6, 528, 43_040_704),
    Variant("b7", "b", 2.0, 3.1, 600, 66_347_960),
    Variant("b8", "b", 2.2, 3.6, 672, 87_413_142),
    Variant("l2", "b", 4.3, 5.3, 800, 480_309_308),
    Variant("lite0", "lite", 1.0, 1.0, 224, 4_652_008),
    Variant("lite1", "lite", 1.0, 1.1, 240, 5_416_680),
    Variant("lite2", "lite", 1.1, 1.2, 260, 6_092_072),
    Variant("lite3", "lite", 1.2, 1.4, 300, 8_197_096),
    Variant("lite4", "lite", 1.4, 1.8, 380, 13_006_568),
    Variant("es", "edgetpu", 1.0, 1.0, 224, 5_438_392),
    Variant("em", "edgetpu", 1.0, 1.1, 240, 6_899_496),
    Variant("el", "edgetpu", 1.2, 1.4, 300, 10_589_712),
    Variant("v2_b0", "v2-b", 1.0, 1.0, 224, 7_139_704),
    Variant("v2_b1", "v2-b", 1.0, 1.1, 240, 8_141_052),
    Variant("v2_b2", "v2-b", 1.1, 1.2, 260, 10_096_086),
    Variant("v2_b3", "v2-b", 1.2, 1.4, 300, 14_358_406),
    Variant("v2_s", "v2-s", 1.0, 1.0, 384, 21_458_488),
    Variant("v2_m", "v2-m", 1.0, 1.0, 480, 54_139_356),
    Variant("v2_l", "v2-l", 1.0, 1.0, 480, 118_515_272),
    Variant("v2_xl", "v2-xl", 1.0, 1.0, 512, 208_119_808),
    Variant("v2_rw_t", "v2-s", 0.8, 0.9, 288, 13_649_388),
    Variant("v2_rw_s", "v2-rw-s", 1.0, 1.0, 384, 23_941_296),
    Variant("v2_rw_m", "v2-rw-m", 1.2, 1.0, 416, 53_236_442),
)
#: Name → numbers. Google's Lite3 and Lite4 run at 280 and 300.
VARIANTS = MappingProxyType({variant.name: variant for variant in _TABLE})
