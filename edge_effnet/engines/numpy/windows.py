"""The geometry that convolutions and poolings share: output size, padding, and the input seen through each tap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from edge_effnet.engines.numpy.operands import Array, Node, Workspace
from edge_effnet.errors import EngineError
from edge_effnet.network.geometry import conv_size, same_padding


@dataclass(frozen=True)
class Windows:
    """All in pixels: kernel, stride and dilation as (vertical, horizontal), `pads` as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    out_height: int
    out_width: int

    @property
    def pointwise(self) -> bool:
        """Whether each output pixel sees one input pixel, in the same place."""
        return self.kernel == self.stride == (1, 1) and self.pads == (0, 0, 0, 0)


def windows(node: Node, height: int, width: int, kernel: tuple[int, int]) -> Windows:
    """The geometry on an input of height × width; raises EngineError when the kernel is larger than the padded
    input.
    """
    options = node.options
    stride = options["stride_h"], options["stride_w"]
    dilation = options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1)
    spans = [dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
    pads = [(0, 0), (0, 0)]
    if options["padding"] == "SAME":
        pads = [same_padding(size, span, step) for size, span, step in zip((height, width), spans, stride, strict=True)]
    sizes = [
        conv_size(size, span, step, *pad)
        for size, span, step, pad in zip((height, width), spans, stride, pads, strict=True)
    ]
    if min(*kernel, *sizes, height, width) < 1:
        raise EngineError(
            f"{node.where} has a window of {spans} pixels on an input of {height}×{width}; expected a larger input"
        )
    return Windows(kernel, stride, dilation, (*pads[0], *pads[1]), sizes[0], sizes[1])


def padded(
    tensor: Array, shape: Windows, value: int, dtype: npt.DTypeLike, workspace: Workspace, *, repeats: int = 1
) -> Array:
    """[N, H, W, C · repeats] in `dtype` with `value` around it; the tensor itself when nothing changes.

    repeats: how often each channel stands side by side (a depth multiplier).
    """
    top, bottom, left, right = shape.pads
    if tensor.dtype == dtype and not any(shape.pads) and repeats == 1:
        return tensor
    batch, height, width, channels = tensor.shape
    result = workspace.array("padded", (batch, height + top + bottom, width + left + right, channels * repeats), dtype)
    for edge in (result[:, :top], result[:, top + height :], result[:, :, :left], result[:, :, left + width :]):
        edge[:] = value
    inner = result[:, top : top + height, left : left + width]
    if repeats == 1:
        inner[:] = tensor
    else:
        for index in range(repeats):
            inner[..., index::repeats] = tensor
    return result


def taps(image: Array, shape: Windows, start: int, count: int) -> list[list[Array]]:
    """[kh][kw] views [count, out_width, C] of a padded image: what tap (i, j) sees for output rows start … start +
    count.
    """
    (stride_h, stride_w), (dilation_h, dilation_w) = shape.stride, shape.dilation
    height, width = (count - 1) * stride_h + 1, (shape.out_width - 1) * stride_w + 1
    lines = []
    for i in range(shape.kernel[0]):
        top = start * stride_h + i * dilation_h
        rows = image[top : top + height : stride_h]
        lines.append(
            [rows[:, left : left + width : stride_w] for left in range(0, shape.kernel[1] * dilation_w, dilation_w)]
        )
    return lines
