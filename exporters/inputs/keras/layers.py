"""What Keras' layers compute, one row a kind; layers that work in training alone are passed through.

Source: the layers' `call` in Keras 3 and tf.keras 2. Kernels: convolution (kh, kw, in, out), depthwise (kh, kw, C, m),
dense (in, out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_effnet.exporters.inputs.assembly.operands import (
    Arithmetic,
    Operand,
    Probabilities,
    averaged,
    batch_norm,
    combined,
    per_channel,
    same_window,
)
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.keras.archive import Array
from edge_effnet.exporters.inputs.keras.call import Call, activated, leaky, rectified
from edge_effnet.network.geometry import NO_PADDING, Padding

#: Below this a Normalization divides by no less (Keras' epsilon).
_EPSILON = 1e-7
_OPERATIONS: dict[str, Arithmetic] = {
    "multiply": "mul", "add": "add", "subtract": "sub", "divide": "div", "truediv": "div", "true_divide": "div"
}  # fmt: skip


def _convolved(call: Call, kernel: Array, bias: Array | None, groups: int, *, name: str) -> Value:
    """kernel float[out, kh, kw, in / groups], with the layer's strides and padding."""
    stride, dilation = call.square("strides"), call.square("dilation_rate")
    sides, padding = (kernel.shape[1], kernel.shape[2]), call.option("padding", "valid")
    if padding not in ("same", "valid"):
        refuse(f"layer {call.layer.name!r:.80} with the padding {padding!r:.20}", "same or valid")
    return call.assembler.convolution(
        call.value,
        kernel,
        bias=bias,
        name=name,
        stride=stride,
        padding=same_window(call.value, sides, stride, dilation) if padding == "same" else NO_PADDING,
        dilation=dilation,
        groups=groups,
    )


def _with_bias(call: Call, *names: str) -> dict[str, Array]:
    return call.variables(*names, *(("bias",) if call.option("use_bias", True) else ()))


def _four_sided(call: Call, kernel: Array) -> Array:
    if kernel.ndim != 4:
        refuse(f"layer {call.layer.name!r:.80} with weights {list(kernel.shape)}", "four sides")
    return kernel


def _conv(call: Call) -> Operand:
    found = _with_bias(call, "kernel")
    kernel = _four_sided(call, found["kernel"]).transpose(3, 0, 1, 2)
    call.agree("filters", kernel.shape[:1])
    call.agree("kernel_size", kernel.shape[1:3])
    made = _convolved(call, kernel, found.get("bias"), call.option("groups", 1), name=call.layer.name)
    return activated(call, made, call.option("activation"))


def _each_by_itself(call: Call, kernel: Array) -> Array:
    """[kh, kw, C, m] as [C · m, kh, kw, 1]."""
    height, width, channels, multiplier = _four_sided(call, kernel).shape
    call.agree("depth_multiplier", (multiplier,))
    call.agree("kernel_size", (height, width))
    return kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, height, width, 1)


def _depthwise(call: Call) -> Operand:
    found = _with_bias(call, "depthwise_kernel")
    kernel = _each_by_itself(call, found["depthwise_kernel"])
    made = _convolved(call, kernel, found.get("bias"), call.value.channels, name=call.layer.name)
    return activated(call, made, call.option("activation"))


def _separable(call: Call) -> Operand:
    found = _with_bias(call, "depthwise_kernel", "pointwise_kernel")
    kernel = _each_by_itself(call, found["depthwise_kernel"])
    first = _convolved(call, kernel, None, call.value.channels, name=f"{call.layer.name}.depthwise")
    pointwise = _four_sided(call, found["pointwise_kernel"]).transpose(3, 0, 1, 2)
    call.agree("filters", pointwise.shape[:1])
    made = call.assembler.convolution(first, pointwise, bias=found.get("bias"), name=call.layer.name)
    return activated(call, made, call.option("activation"))


def _dense(call: Call) -> Operand:
    found, value = _with_bias(call, "kernel"), call.value
    kernel = found["kernel"]
    if kernel.ndim != 2:
        refuse(f"layer {call.layer.name!r:.80} with weights {list(kernel.shape)}", "[inputs, outputs]")
    call.agree("units", kernel.shape[1:])
    if len(value.axes) == 4 and value.axes.endswith("C"):
        weight = kernel.T[:, None, None]
        made = call.assembler.convolution(value, weight, bias=found.get("bias"), name=call.layer.name)
    else:
        made = call.assembler.dense(value, kernel.T, bias=found.get("bias"), name=call.layer.name)
    return activated(call, made, call.option("activation"))


def _check_channel_axis(call: Call) -> None:
    axis = call.option("axis", -1)
    listed = axis if isinstance(axis, list) else [axis]
    axes = call.value.axes
    if len(listed) != 1 or not isinstance(listed[0], int) or axes[listed[0] % len(axes)] != "C":
        refuse(f"layer {call.layer.name!r:.80} along the axis {axis!r:.20} of {list(call.value.shape)}", "the channels")


def _batch_norm(call: Call) -> Operand:
    _check_channel_axis(call)
    learned = [name for name, key in (("gamma", "scale"), ("beta", "center")) if call.option(key, True)]
    found = call.variables(*learned, "moving_mean", "moving_variance")
    parts = {"running_mean": found["moving_mean"], "running_var": found["moving_variance"]}
    parts |= {new: found[old] for old, new in (("gamma", "weight"), ("beta", "bias")) if old in found}
    return batch_norm(call.assembler, call.value, parts, float(call.option("epsilon", 1e-3)), name=call.layer.name)


def _rescaling(call: Call) -> Operand:
    scale, offset = call.numbers("scale", 1.0), call.numbers("offset", 0.0)
    return call.assembler.affine(call.value, scale, offset, what=f"layer {call.layer.name!r:.80}")


def _normalization(call: Call) -> Operand:
    """(x - mean) / max(sqrt(variance), 1e-7), from the configuration or the weights."""
    if call.layer.config.get("mean") is not None:
        mean, variance = call.numbers("mean", 0.0), call.numbers("variance", 1.0)
    else:
        _check_channel_axis(call)
        found = call.variables("mean", "variance")
        mean, variance = (found[name].astype(np.float64) for name in ("mean", "variance"))
    if (variance < 0).any():
        refuse(f"layer {call.layer.name!r:.80} with a negative variance", "0 or more")
    deviation = np.maximum(np.sqrt(variance), _EPSILON)
    scale, shift = 1 / deviation, -mean / deviation
    if call.option("invert", False):
        scale, shift = deviation, mean
    count = call.value.channels
    both = (np.broadcast_to(part.reshape(-1) if part.size in (1, count) else part, (count,)) for part in (scale, shift))
    return per_channel(call.assembler, call.value, *both, name=call.layer.name)


def _zero_padding(call: Call) -> Operand:
    amounts = call.option("padding", 1)
    if isinstance(amounts, int):
        amounts = (amounts, amounts)
    (top, bottom), (left, right) = (side if isinstance(side, list) else (side, side) for side in amounts)
    if min(top, bottom, left, right) < 0:
        refuse(f"layer {call.layer.name!r:.80} with the padding {amounts!r:.60}", "0 or more")
    return call.assembler.pad(call.value, Padding(top, bottom, left, right))


def _global_mean(call: Call) -> Operand:
    places = {index for index, axis in enumerate(call.value.axes) if axis in "HW"}
    keep = "keep" if call.option("keepdims", False) else "drop"
    return averaged(call.assembler, call.value, places, keep=keep, name=call.layer.name)


def _average_pool(call: Call) -> Operand:
    value = call.value
    if call.pair("pool_size") != (value.height, value.width):
        refuse(f"layer {call.layer.name!r:.80}, an average over windows of {call.pair('pool_size')}", "the whole image")
    return averaged(
        call.assembler, value, {value.axes.index("H"), value.axes.index("W")}, keep="keep", name=call.layer.name
    )


def _combined(kind: Arithmetic) -> Callable[[Call], Operand]:
    def run(call: Call) -> Operand:
        if len(call.operands) < 2:
            refuse(f"layer {call.layer.name!r:.80} of one tensor", "two")
        total = call.operands[0]
        for operand in call.operands[1:]:
            total = combined(call.assembler, kind, total, operand, name=call.layer.name)
        return total

    return run


def _operation(call: Call) -> Operand:
    """A function of TensorFlow's that tf.keras recorded as a layer, by the function's name."""
    name = str(call.option("function", "")).rsplit(".", 1)[-1]
    if name in _OPERATIONS:
        return _combined(_OPERATIONS[name])(call)
    return activated(call, call.value, name)


def _reshape(call: Call) -> Operand:
    target = call.option("target_shape", [])
    if not isinstance(target, list) or not all(isinstance(side, int) for side in target):
        refuse(f"layer {call.layer.name!r:.80} with the shape {target!r:.60}", "whole numbers")
    return call.value.reshaped((1, *target), "NHWC")


def _softmax(call: Call) -> Operand:
    return activated(call, call.value, "softmax")


def _same_size(call: Call) -> Operand:
    """Resizing or cropping to the size that the image has already."""
    wanted = (call.option("height"), call.option("width"))
    if wanted != (call.value.height, call.value.width):
        refuse(
            f"layer {call.layer.name!r:.80}, a {call.layer.kind} of {call.value.height}×{call.value.width} to {wanted}",
            "photos resized outside the network: build the model for its own size and leave that layer out",
        )
    return call.value


def _unchanged(call: Call) -> Operand:
    found = call.operands[0] if call.operands else call.value
    return found if isinstance(found, Probabilities) else call.value


_IN_TRAINING = (
    "Dropout", "FixedDropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth", "RandomShear", "RandomHue", "RandomSaturation",
    "RandomColorJitter", "RandomGrayscale", "RandomGaussianBlur", "RandomErasing", "RandomInvert",
    "RandomPosterization", "RandomPerspective", "RandomColorDegeneration", "RandomSharpness",
    "RandAugment", "AugMix", "CutMix", "MixUp",
)  # fmt: skip
#: Keras' class name → what it computes.
LAYERS: Mapping[str, Callable[[Call], Any]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "ZeroPadding2D": _zero_padding,
    "GlobalAveragePooling2D": _global_mean,
    "AveragePooling2D": _average_pool,
    "Add": _combined("add"),
    "Subtract": _combined("sub"),
    "Multiply": _combined("mul"),
    "Divide": _combined("div"),
    "TrueDivide": _combined("div"),
    "TFOpLambda": _operation,
    "Flatten": lambda call: call.value.reshaped((1, -1), "NHWC"),
    "Reshape": _reshape,
    "Activation": lambda call: activated(call, call.value, call.option("activation")),
    "ReLU": rectified,
    "LeakyReLU": lambda call: leaky(
        call, call.value, call.option("negative_slope", call.option("alpha", 0.3)), call.layer.name
    ),
    "Softmax": _softmax,
    "Resizing": _same_size,
    "CenterCrop": _same_size,
    "Identity": _unchanged,
    "InputLayer": _unchanged,
    "Cast": _unchanged,
    **dict.fromkeys(_IN_TRAINING, _unchanged),
}
