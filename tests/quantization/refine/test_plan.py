from __future__ import annotations

import math

import pytest
from support.networks import float_graph, narrow_state

from edge_effnet.quantization.refine.plan import held_out_photos, photo_seconds, plan, plan_steps
from edge_effnet.quantization.refine.record import decibels


def test_minutes_become_steps_by_the_networks_size() -> None:
    small, large = (float_graph(narrow_state("b0"), "b0", size=size) for size in (64, 128))
    assert photo_seconds(large) > 1.05 * photo_seconds(small)
    short, long = (plan(small, minutes=minutes, photos=256).steps for minutes in (1.0, 5.0))
    assert long > 4.9 * short
    assert plan(large, minutes=1.0, photos=256).steps < short
    assert plan(large, minutes=1e-6, photos=256).steps == 1


@pytest.mark.parametrize(("photos", "held_out"), [(1, 0), (31, 0), (32, 4), (256, 32), (1000, 32)])
def test_photos_held_out(photos: int, held_out: int) -> None:
    assert held_out_photos(photos) == held_out


def test_steps_as_said() -> None:
    assert plan_steps(100, photos=256).judged_every == 13
    assert plan_steps(1, photos=2).judged_every == 1


@pytest.mark.parametrize(
    ("power", "error", "expected"),
    [(10.0, 1.0, 10.0), (1.0, 0.0, math.inf), (1.0, math.nan, -math.inf), (math.inf, 1.0, -math.inf)],
)
def test_decibels(power: float, error: float, expected: float) -> None:
    assert decibels(power, error) == pytest.approx(expected)
