"""Rounding with straight-through gradients for torch: what int8 does between two convolutions, in few passes.

Every function here works on pieces that stay in a core's cache, since a network's tensors don't: a dozen plain torch
operators over a whole tensor take four times as long. The gradient of a range follows LSQ (Esser et al., arXiv
1902.08153) and LSQ+ (Bhalgat et al., arXiv 2004.09576): what is clipped moves the limit it is clipped to, what is
rounded moves the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from edge_effnet.numerics import SMALLEST_SCALE

#: Numbers a piece has: few enough for two cores' second-level caches, enough to be worth a call.
PIECE = 1 << 16
#: One in so many pieces tells a range where to go, by turns: half of the work, and the same range in the end.
EVERY = 4


@dataclass(frozen=True)
class Grid:
    """int8's numbers: step · k for whole k of low..high (`numerics.params_for_range` in steps)."""

    step: float
    low: float
    high: float

    @classmethod
    def of(cls, limits: Tensor) -> Grid:
        """From float32[2], the lowest and the highest number; 0 is always on the grid."""
        low, high = (float(limit) for limit in limits.detach())
        low, high = min(low, 0.0), max(high, 0.0)
        step = max((high - low) / 255.0, SMALLEST_SCALE)
        zero = min(max(round(-128 - low / step), -128), 127)
        return cls(step, float(-128 - zero), float(127 - zero))


class _RangeGradient:
    """Sums what a range's two limits are told, by one in `EVERY` pieces, beginning with number `turn`."""

    def __init__(self, grid: Grid, *, numbers: int, every: int, turn: int = 0) -> None:
        whole = -(-numbers // PIECE)
        self._grid, self._every = grid, min(every, whole) or 1
        self._seen = turn % self._every
        self._told, self._inside, self._outside, self._signed = 0, 0.0, 0.0, 0.0
        self._whole = whole

    def add(self, exact: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of what was rounded, zero where it was clipped. exact: in steps; it is used up."""
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, exact, self._grid.low - 0.5, self._grid.high + 0.5)
        self._seen += 1
        if self._seen % self._every == 0:
            lost = gradient - passed
            self._told += 1
            self._inside += float(torch.dot(passed, exact.round().sub_(exact)))
            self._outside += float(lost.sum())
            self._signed += float(torch.dot(lost, exact.sign_()))
        return passed

    def limits(self) -> Tensor:
        """float32[2]."""
        share = self._whole / max(self._told, 1)
        below, above = (self._outside - self._signed) / 2, (self._outside + self._signed) / 2
        return torch.tensor([below - self._inside / 255, above + self._inside / 255]) * share


def flat(tensor: Tensor) -> Tensor:
    """A dense tensor's numbers in the order of memory; a view."""
    return tensor.as_strided((tensor.numel(),), (1,))


def pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretches of dense tensors of one layout, as views."""
    views = [flat(tensor) for tensor in tensors]
    for start in range(0, views[0].numel(), PIECE):
        yield tuple(view[start : start + PIECE] for view in views)


def dense(tensor: Tensor) -> Tensor:
    """The tensor with its numbers side by side, channels last where it is an image."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor.contiguous()


class FakeQuantize(Function):
    """float32 of any shape as int8 of a range (float32[2]) would hold it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, limits: Tensor, turn: int) -> Tensor:
        """The rounded numbers."""
        ctx.turn, values = turn, dense(values)
        ctx.save_for_backward(values, limits)
        grid, result = Grid.of(limits), torch.empty_like(values)
        for source, target in pieces(values, result):
            torch.mul(source, 1 / grid.step, out=target)
            target.round_().clamp_(grid.low, grid.high).mul_(grid.step)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of the values and of the range."""
        values, limits = ctx.saved_tensors
        grid, gradient, result = Grid.of(limits), dense(gradients[0]), torch.empty_like(values)
        found = _RangeGradient(grid, numbers=values.numel(), every=EVERY, turn=ctx.turn)
        for source, given, target in pieces(values, gradient, result):
            target.copy_(found.add(source * (1 / grid.step), given))
        return result, found.limits(), None


class RoundedSwish(Function):
    """x · σ(x) as LiteRT computes the int8 pair: x, σ (to 1/256, at most 255/256) and their product rounded.

    The two ranges are float32[2] each.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, before: Tensor, after: Tensor, turn: int) -> Tensor:
        """The rounded products."""
        ctx.turn, values = turn, dense(values)
        ctx.save_for_backward(values, before, after)
        first, second, result = Grid.of(before), Grid.of(after), torch.empty_like(values)
        for source, target in pieces(values, result):
            torch.mul(source, 1 / first.step, out=target)
            target.round_().clamp_(first.low, first.high).mul_(first.step)
            gate = torch.sigmoid(target).mul_(256.0).round_().clamp_(max=255.0)
            target.mul_(gate).mul_(1 / (256 * second.step)).round_().clamp_(second.low, second.high).mul_(second.step)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Of the values and of the two ranges."""
        values, before, after = ctx.saved_tensors
        first, second, gradient = Grid.of(before), Grid.of(after), dense(gradients[0])
        result = torch.empty_like(values)
        found, found_after = (
            _RangeGradient(grid, numbers=values.numel(), every=EVERY, turn=ctx.turn) for grid in (first, second)
        )
        for source, given, target in pieces(values, gradient, result):
            exact = source * (1 / first.step)
            value = exact.round().clamp_(first.low, first.high).mul_(first.step)
            gate = torch.sigmoid(value)
            product = (gate * 256.0).round_().clamp_(max=255.0).mul_(value).mul_(1 / (256 * second.step))
            passed = found_after.add(product, given)
            slope = torch.addcmul(gate, gate, value.mul_(1 - gate))  # gate · (1 + value · (1 − gate))
            target.copy_(found.add(exact, passed.mul_(slope)))
        return result, found.limits(), found_after.limits(), None


class RoundedProduct(Function):
    """An image [N, C, H, W] times its gates [N, C, 1, 1], rounded to a range (float32[2])."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gates: Tensor, limits: Tensor) -> Tensor:
        """The rounded products."""
        values, gates = dense(values), gates.contiguous()
        ctx.save_for_backward(values, gates, limits)
        grid, result = Grid.of(limits), torch.empty_like(values)
        for source, gate, target in zip(_pixels(values), gates.flatten(1), _pixels(result), strict=True):
            torch.mul(source, gate * (1 / grid.step), out=target)
            target.round_().clamp_(grid.low, grid.high).mul_(grid.step)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the image, its gates and the range."""
        values, gates, limits = ctx.saved_tensors
        grid, gradient = Grid.of(limits), dense(gradients[0])
        found = _RangeGradient(grid, numbers=len(values) * PIECE, every=1)
        result, of_gates = torch.empty_like(values), torch.empty_like(gates)
        for source, gate, given, target, told in zip(
            *(_pixels(values), gates.flatten(1), _pixels(gradient), _pixels(result), of_gates.flatten(1)), strict=True
        ):
            exact = source * (gate * (1 / grid.step))
            passed = found.add(flat(exact), flat(given)).view_as(source)
            told.copy_((passed * source).sum(0))
            torch.mul(passed, gate, out=target)
        return result, of_gates, found.limits()


def _pixels(images: Tensor) -> Tensor:
    """[N, H · W, C] of images whose channels lie last; a view."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


class RoundedWeights(Function):
    """Weights in steps to whole steps of -127..127."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor) -> Tensor:
        """The whole steps."""
        ctx.save_for_backward(steps)
        return steps.round().clamp_(-127, 127)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Straight through, but for what is clipped."""
        (steps,) = ctx.saved_tensors
        return gradients[0] * (steps.abs() <= 127.5)
