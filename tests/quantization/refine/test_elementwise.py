"""Rounding equals numpy's simulation to the bit, and its gradients what autograd makes of the plain formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_effnet.numerics import params_for_range
from edge_effnet.quantization.measure.simulate import fake_quantize, rounded_swish

pytestmark = pytest.mark.torch
RANGES = [(-3.1, 5.3), (-0.2, 7.0), (0.0, 6.0), (-4.0, 0.0), (0.0, 0.0)]
SHAPE = (3, 5, 40, 70)  # beyond one piece where pieces are made small


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.quantization.refine import elementwise

    monkeypatch.setattr(elementwise, "PIECE", 4096)
    monkeypatch.setattr(elementwise, "EVERY", 1)


def numbers(*shape: int, seed: int = 0) -> Any:
    import torch

    found = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 3)
    return found.contiguous(memory_format=torch.channels_last) if found.dim() == 4 else found


def leaf(tensor: Any) -> Any:
    return tensor.clone().requires_grad_()


def limits_of(low: float, high: float) -> Any:
    """As a range's parameters reach: rounding it again changes nothing."""
    import torch

    params = params_for_range(low, high)
    return torch.tensor([params.low, params.high])


def straight_through(values: Any, limits: Any) -> Any:
    """The plain formula: rounding counts as the identity, a range's limits as its step and its clips."""
    params = params_for_range(*(float(limit) for limit in limits.detach()))
    step = (limits[1] - limits[0]) / 255
    exact = values / step
    rounded = exact + (exact.round() - exact).detach()
    inside = (exact.round() >= -128 - params.zero_point) & (exact.round() <= 127 - params.zero_point)
    clipped = (exact < 0) * limits[0] + (exact >= 0) * limits[1]
    return inside * (rounded * step) + ~inside * clipped


@pytest.mark.parametrize("limits", RANGES)
def test_fake_quantization(limits: tuple[float, float]) -> None:
    from edge_effnet.quantization.refine.elementwise import FakeQuantize

    values, learned = leaf(numbers(*SHAPE)), leaf(limits_of(*limits))
    found = FakeQuantize.apply(values, learned, 0)
    exact = fake_quantize(values.detach().numpy(), params_for_range(*limits))
    np.testing.assert_allclose(found.detach().numpy(), exact, rtol=1e-6)
    if limits[0] == limits[1]:
        return
    told = numbers(*SHAPE, seed=1)
    found.backward(told)
    other, other_learned = leaf(values.detach()), leaf(learned.detach())
    straight_through(other, other_learned).backward(told)
    np.testing.assert_allclose(values.grad, other.grad, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(learned.grad, other_learned.grad, rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("before", [(-3.1, 5.3), (-9.0, 4.0)])
@pytest.mark.parametrize("after", [(-0.28, 5.0), (-0.2, 2.0)])
def test_the_rounded_swish(before: tuple[float, float], after: tuple[float, float]) -> None:
    import torch

    from edge_effnet.quantization.refine.elementwise import RoundedSwish

    values, first, second = leaf(numbers(*SHAPE)), leaf(limits_of(*before)), leaf(limits_of(*after))
    found = RoundedSwish.apply(values, first, second, 0)
    inner = fake_quantize(values.detach().numpy(), params_for_range(*before))
    step = float(second.detach()[1] - second.detach()[0]) / 255
    off = np.abs(found.detach().numpy() - fake_quantize(rounded_swish(inner), params_for_range(*after)))
    assert off.max() < 1.01 * step  # σ, or the product, on the edge between two numbers
    assert np.mean(off > 0.01 * step) < 1e-3
    told = numbers(*SHAPE, seed=1)
    found.backward(told)
    other, other_first, other_second = leaf(values.detach()), leaf(first.detach()), leaf(second.detach())
    rounded = straight_through(other, other_first)
    gate = torch.sigmoid(rounded)
    straight_through(
        rounded * (gate + ((256 * gate).round().clamp(max=255) / 256 - gate).detach()), other_second
    ).backward(told)
    # The slope is that of the exact swish, which the rounded σ stays within a 512th of.
    np.testing.assert_allclose(values.grad, other.grad, rtol=0.02, atol=0.02)
    for learned, plain in ((first, other_first), (second, other_second)):
        np.testing.assert_allclose(learned.grad, plain.grad, rtol=0.02, atol=2)


def test_the_rounded_product() -> None:
    from edge_effnet.quantization.refine.elementwise import RoundedProduct

    values, gates, learned = leaf(numbers(*SHAPE)), leaf(numbers(3, 5, 1, 1, seed=2)), leaf(limits_of(-4.0, 9.0))
    found = RoundedProduct.apply(values, gates, learned)
    exact = fake_quantize((values * gates).detach().numpy(), params_for_range(-4.0, 9.0))
    assert np.mean(np.abs(found.detach().numpy() - exact) > 1e-5) < 1e-4
    told = numbers(*SHAPE, seed=1)
    found.backward(told)
    other, other_gates, other_learned = leaf(values.detach()), leaf(gates.detach()), leaf(learned.detach())
    straight_through(other * other_gates, other_learned).backward(told)
    np.testing.assert_allclose(values.grad, other.grad, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gates.grad, other_gates.grad, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(learned.grad, other_learned.grad, rtol=1e-3, atol=0.5)


def test_turns_tell_a_range_on_the_whole_what_all_pieces_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.quantization.refine import elementwise

    def gradient(turn: int) -> Any:
        values, learned = leaf(numbers(*SHAPE)), leaf(limits_of(-3.1, 5.3))
        elementwise.FakeQuantize.apply(values, learned, turn).backward(numbers(*SHAPE, seed=1))
        return learned.grad.numpy()

    whole = gradient(0)
    monkeypatch.setattr(elementwise, "EVERY", 4)
    parts = [gradient(turn) for turn in range(4)]
    assert not np.allclose(parts[0], parts[1])
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, rtol=0.3, atol=10)


def test_weights_keep_within_their_steps() -> None:
    import torch

    from edge_effnet.quantization.refine.elementwise import RoundedWeights

    steps = leaf(torch.tensor([0.4, 0.6, -1.5, 127.4, 127.6, -200.0]))
    found = RoundedWeights.apply(steps)
    assert found.tolist() == [0, 1, -2, 127, 127, -127]
    found.sum().backward()
    assert steps.grad.tolist() == [1, 1, 1, 1, 0, 0]
