"""Sizes and paddings of sliding windows, one side at a time; needs no graph, so engines use it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Padding:
    """Pixels added around an image. Never negative; what no window reaches is trimmed to 0."""

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        if min(self.top, self.bottom, self.left, self.right) < 0:
            raise ValueError(f"padding {self} is negative; expected pixels to add, 0 or more")


NO_PADDING = Padding(0, 0, 0, 0)


def reach(kernel: int, dilation: int) -> int:
    """Pixels from a window's first tap to its last, both included."""
    return (kernel - 1) * dilation + 1


def conv_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Pixels a convolution gives along one side; `kernel` is the window's reach where it is dilated."""
    return (size + before + after - kernel) // stride + 1


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after), the odd pixel after (https://www.tensorflow.org/api_docs/python/tf/nn)."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def symmetric_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """PyTorch's k//2 on both sides, the pad that the last window doesn't reach trimmed away."""
    return trimmed(size, kernel, stride, (kernel // 2, kernel // 2))


def trimmed(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> tuple[int, int]:
    """The same windows with the pixels after the last one left out: (before, after)."""
    before, after = padding
    out = conv_size(size, kernel, stride, before, after)
    return before, max((out - 1) * stride + kernel - size - before, 0)
