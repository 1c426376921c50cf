"""Signs in a state dict that it is of another family, and the sentence that names what is foreign."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge_effnet.exporters.families.records import Weights

#: (pattern of a key, what it means); found in timm 1.0's relatives of EfficientNet.
_SIGNS: tuple[tuple[str, str], ...] = (
    (r"routing_fn", "conditional convolutions, whose weights are mixed for each image (CondConv)"),
    (r"conv_\w+\.\d+\.weight", "kernels of several sizes in one layer (MixNet)"),
    (r"(conv|bn)_s2d", "space-to-depth in its first blocks (efficientnet_x)"),
    (r"\.aa\.|\.1\.filt$", "blur pooling with filters of its own"),
    (r"\.se\.(conv_attn|gc|mlp_add|mlp_mul|ctx)|\.attn", "global context or attention in place of squeeze-excitation"),
    (r"\.se\.(bn|norm)", "a normalisation inside squeeze-excitation"),
    (r"blocks\.\d+\.\d+\.conv_(pw|dw|pwl)\.bias", "convolutions with a bias beside their batch norm"),
    (r"^conv_head\.bias", "a head with a bias and no batch norm (MobileNetV3)"),
    (r"\.(dw_start|dw_mid|layer_scale|attn)\.", "universal inverted bottlenecks (MobileNetV4)"),
    (r"^layer\d\.", "residual stages of a ResNet"),
    (r"^features\.\d+\.conv\.", "inverted residuals of torchvision's MobileNetV2"),
    (r"(^|\.)(qkv|cls_token|pos_embed)", "attention of a transformer"),
)


def foreign_signs(weights: Weights) -> list[str]:
    """What doesn't belong to EfficientNet, in words; empty where nothing is known of it."""
    keys = list(weights)
    found = [what for pattern, what in _SIGNS if any(re.search(pattern, key) for key in keys)]
    if not any(key.endswith("running_mean") for key in keys):
        found.append("no running statistics anywhere: GroupNorm or LayerNorm, or batch norm folded in")
    found += _grouped(weights, keys)
    return found


def _grouped(weights: Weights, keys: Sequence[str]) -> list[str]:
    """A depthwise convolution's key with more than one channel a group."""
    for key in keys:
        shape = weights[key].shape
        if key.endswith("conv_dw.weight") and len(shape) == 4 and shape[1] > 1:
            return [f"convolutions in groups of {shape[1]} channels ({key} {list(shape)})"]
    return []


#: (pattern of a model's name, what it has); relatives that share keys and shapes with a family of ours, or its name.
_RELATIVES: tuple[tuple[str, str], ...] = (
    (r"efficientnet_blur", "blur pooling in place of strides"),
    (r"efficientnet_cc|^cc_|^condconv", "conditional convolutions"),
    (r"efficientnet_[xh]_", "space-to-depth in its first blocks"),
    (r"efficientnet_\w+_g\d|efficientnet\w*_(gn|ln|evos)$", "another normalisation than batch norm"),
    (r"^gc_|^eca_", "another attention in place of squeeze-excitation"),
    (r"^test_efficientnet", "stages of its own, made for tests"),
    (r"^(mixnet|mnasnet|semnasnet|mobilenet|tinynet|fbnet|spnasnet|hardcorenas)", "stages of another search"),
    (r"^(lcnet|ghostnet|efficientformer|efficientvit)", "other blocks"),
)
#: What to do with a network whose tensors alone aren't understood.
ANOTHER_FORM = "its nn.Module, or an ONNX file of it, says what it computes, and may do"


def relative_of(name: str) -> str | None:
    """What a model name's network has that is foreign, where it is near to an EfficientNet of ours, but none."""
    plain = name.strip().lower().split(".")[0]
    return next((what for pattern, what in _RELATIVES if re.search(pattern, plain)), None)
