"""The rules of operators with weights or windows: convolutions, fully-connected, poolings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edge_effnet.formats.tflite_rules_common import FLOAT, Operands, alike, factor, is_shape, one, scaled, two
from edge_effnet.formats.tflite_tensors import TfliteTensor
from edge_effnet.network.geometry import conv_size, same_padding

#: Type of an input → of the bias, of the weights. Integer weights on float inputs: LiteRT's dynamic quantization.
_SUMMED = {FLOAT: (FLOAT,), "int8": ("int32",), "uint8": ("int32",), "int16": ("int64", "int32")}
_WEIGHTS = {FLOAT: (FLOAT, "int8", "uint8", "int4"), "int8": ("int8", "int4"), "uint8": ("uint8",), "int16": ("int8",)}
_LARGEST_STRIDE = 1 << 12
#: Pixels that a window may reach beyond twice the input.
_WINDOW_SLACK = 16


def _filtered(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any], *, axis: int) -> str | None:
    """What both convolutions share; `axis`: the outputs' in the weights."""
    source, weight = two(inputs)
    if len(source.shape) != 4 or len(weight.shape) != 4 or 0 in weight.shape or 0 in source.shape:
        return f"has an input {list(source.shape)} and weights {list(weight.shape)}; expected four sides above 0"
    channels = weight.shape[axis]
    shape = (source.shape[0], *_window_sizes(source.shape, weight.shape[1:3], options), channels)
    return _weighted(inputs, output, axis=axis) or is_shape(output, shape)


def convolution(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Weights [out, kh, kw, in / groups] on [N, H, W, in]."""
    source, weight = two(inputs)
    problem = _filtered(inputs, output, options, axis=0)
    if problem is None and (
        source.shape[3] % weight.shape[3] or weight.shape[0] % (source.shape[3] // weight.shape[3])
    ):
        return f"has weights {list(weight.shape)} on an input {list(source.shape)}; their channels don't fit"
    return problem


def depthwise(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Weights [1, kh, kw, in · multiplier] on [N, H, W, in]. Without a bias LiteRT ends with SIGSEGV."""
    source, weight = two(inputs)
    if inputs[2] is None:
        return "has no bias"
    problem = _filtered(inputs, output, options, axis=3)
    if problem is None and (weight.shape[0] != 1 or weight.shape[3] % source.shape[3]):
        return f"has weights {list(weight.shape)} on an input {list(source.shape)}; their channels don't fit"
    if problem is None and options["depth_multiplier"] not in (0, weight.shape[3] // source.shape[3]):
        return f"has the depth multiplier {options['depth_multiplier']}; expected {weight.shape[3] // source.shape[3]}"
    return problem


def dense(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """Weights [out, in] on any input of n · in numbers."""
    source, weight = two(inputs)
    if len(weight.shape) != 2 or 0 in weight.shape or options["weights_format"] != "DEFAULT":
        return f"has {options['weights_format']} weights {list(weight.shape)}; expected DEFAULT with two sides above 0"
    channels, depth = weight.shape
    elements = math.prod(source.shape)
    if (
        elements % depth
        or not output.shape
        or output.shape[-1] != channels
        or math.prod(output.shape) != elements // depth * channels
    ):
        return f"takes {list(source.shape)} to {list(output.shape)} with weights {list(weight.shape)}; they don't fit"
    return _weighted(inputs, output, axis=0)


def _weighted(inputs: Operands, output: TfliteTensor, *, axis: int) -> str | None:
    """Types, bias and scales of an operator with weights."""
    source, weight = two(inputs)
    bias = inputs[2] if len(inputs) > 2 else None
    channels = weight.shape[axis]
    if source.dtype not in _SUMMED or output.dtype != source.dtype:
        types = ", ".join(_SUMMED)
        return f"takes {source.dtype} and gives {output.dtype}; expected one of {types}, the same at both ends"
    if weight.dtype not in _WEIGHTS[source.dtype]:
        return f"has {weight.dtype} weights on {source.dtype}"
    if bias is not None and (bias.shape != (channels,) or bias.dtype not in _SUMMED[source.dtype]):
        return f"has the bias {bias.dtype}{list(bias.shape)}; expected {_SUMMED[source.dtype][0]}[{channels}]"
    if len(weight.scales) > 1 and (len(weight.scales) != channels or weight.quantized_dimension != axis):
        return (
            f"has {len(weight.scales)} weight scales along axis {weight.quantized_dimension}; "
            f"expected one for each of {channels} along axis {axis}"
        )
    if weight.dtype != FLOAT and not len(weight.scales):
        return f"has {weight.dtype} weights without a scale"
    if source.dtype == FLOAT:
        return None
    largest = float(weight.scales.max())
    return scaled(source, output) or factor(float(source.scales[0]) * largest / float(output.scales[0]))


def pool(inputs: Operands, output: TfliteTensor, options: Mapping[str, Any]) -> str | None:
    """A window of filter_height × filter_width on [N, H, W, C]; gives [N, H', W', C]."""
    source = one(inputs)
    if len(source.shape) != 4 or 0 in source.shape:
        return f"has an input {list(source.shape)}; expected four sides above 0"
    sizes = _window_sizes(source.shape, (options["filter_height"], options["filter_width"]), options)
    return alike(source, output) or is_shape(output, (source.shape[0], *sizes, source.shape[3]))


def _window_sizes(shape: tuple[int, ...], kernel: Sequence[int], options: Mapping[str, Any]) -> tuple[int, int]:
    """Output height and width; (0, 0), which no output has, where the window can't be meant."""
    sizes = []
    for side, taps, axis in zip(shape[1:3], kernel, ("h", "w"), strict=True):
        stride, dilation = options[f"stride_{axis}"], options.get(f"dilation_{axis}_factor", 1)
        span = (taps - 1) * dilation + 1
        if span > 2 * side + _WINDOW_SLACK or max(stride, dilation) > _LARGEST_STRIDE:
            return 0, 0
        pads = same_padding(side, span, stride) if options["padding"] == "SAME" else (0, 0)
        sizes.append(conv_size(side, span, stride, *pads))
    return (sizes[0], sizes[1]) if min(sizes) > 0 else (0, 0)
