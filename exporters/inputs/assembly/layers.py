"""Records of layers from their weights, checked: no NaN, four sides, as many biases as outputs."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, OperatorError
from edge_effnet.exporters.inputs.assembly.value import MAX_ELEMENTS, Value, refuse
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Conv2D, DepthwiseConv2D, Node

Array: TypeAlias = npt.NDArray[Any]


def made_convolution(
    name: str, source: str, weight: Array, bias: Array, stride: int, padding: Padding, dilation: int, groups: int
) -> Node:
    """A convolution, depthwise where each channel is a group."""
    values = float32(bias, name)
    if groups > 1 and groups == len(weight):
        kernel = float32(weight[..., 0].transpose(1, 2, 0), name)
        return DepthwiseConv2D(name, (source,), kernel, values, stride, padding, dilation=dilation)
    return Conv2D(name, (source,), float32(weight, name), values, stride, padding, dilation=dilation, groups=groups)


def float32(values: Array, name: str) -> npt.NDArray[np.float32]:
    """Weights rounded to float32, once; raises CheckpointError where one is no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(result).all():
        raise CheckpointError(
            f"{name!r} holds NaN or infinite weights; expected numbers: training diverged, bring an earlier one"
        )
    return result


def check_weight(weight: Array, bias: Array | None, name: str) -> None:
    """Raises OperatorError unless weight is [out, kh, kw, in / groups] and bias [out]."""
    if weight.ndim != 4 or weight.dtype.kind != "f" or weight.size > MAX_ELEMENTS or not weight.size:
        raise OperatorError(f"{name!r} has weights {weight.dtype}{list(weight.shape)}; expected four sides of floats")
    if bias is not None and np.shape(bias) != (len(weight),):
        raise OperatorError(f"{name!r} has a bias {list(np.shape(bias))}; expected {len(weight)} numbers")


def check_alike(left: Value, right: Value, name: str) -> None:
    """Raises OperatorError unless two tensors have one shape and layout."""
    if (left.shape, left.axes, left.order) != (right.shape, right.axes, right.order):
        refuse(f"{name!r} of {list(left.shape)} and {list(right.shape)}", "two of one shape")
