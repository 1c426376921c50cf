"""Expected changes of the best class against a plain double loop, and against fresh errors of the same kind."""

from __future__ import annotations

import numpy as np
import pytest

from edge_effnet.quantization.measure.expected_loss import (
    bound_in_points,
    change_probabilities,
    decision_change_probabilities,
    least_bound,
)


def random_logits(count: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (count, classes)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 7, 10])
def test_the_same_as_trying_every_error_on_every_photo(classes: int) -> None:
    exact = random_logits(12, classes)
    rounded = exact + random_logits(12, classes, seed=1) * np.float32(0.3)
    found = change_probabilities(exact, rounded)
    for photo, logits in enumerate(exact):
        order = sorted(range(classes), key=lambda index: -logits[index])
        changed = 0
        for other in range(12):
            other_order = sorted(range(classes), key=lambda index: -exact[other][index])
            for sign in (1, -1):
                moved = [
                    logits[mine] + sign * (rounded[other] - exact[other])[theirs]
                    for mine, theirs in zip(order, other_order, strict=True)
                ]
                changed += int(np.argmax(moved) != 0)
        assert found[photo] == pytest.approx(changed / 24)


def test_decisions_the_same_as_trying_every_error_on_every_photo() -> None:
    exact, lowest = random_logits(9, 3), np.array([0.0, 1.0, -0.5])
    rounded = exact + random_logits(9, 3, seed=1) * np.float32(0.5)
    found = decision_change_probabilities(exact, rounded, lowest)
    for photo, column in np.ndindex(*exact.shape):
        errors = rounded[:, column] - exact[:, column]
        moved = exact[photo, column] - lowest[column] + np.concatenate([errors, -errors])
        held = exact[photo, column] >= lowest[column]
        assert found[photo, column] == pytest.approx(np.mean((moved >= 0) != held))
    assert not decision_change_probabilities(exact, exact, lowest).any()


def test_no_error_changes_nothing() -> None:
    exact = random_logits(20, 1000)
    assert not change_probabilities(exact, exact).any()


def test_foretells_what_other_errors_of_the_same_strength_change() -> None:
    exact = random_logits(400, 8)
    random = np.random.default_rng(2)

    def rounded() -> np.ndarray:
        return exact + random.normal(0, 0.15, exact.shape).astype(np.float32)

    expected = change_probabilities(exact, rounded()).sum()
    changed = np.mean([(rounded().argmax(axis=1) != exact.argmax(axis=1)).sum() for _ in range(50)])
    assert expected == pytest.approx(changed, rel=0.1)


def test_steadier_than_counting() -> None:
    exact = random_logits(200, 8)
    random = np.random.default_rng(3)
    tries = [exact + random.normal(0, 0.1, exact.shape).astype(np.float32) for _ in range(30)]
    expected = np.std([change_probabilities(exact, rounded).sum() for rounded in tries])
    counted = np.std([(rounded.argmax(axis=1) != exact.argmax(axis=1)).sum() for rounded in tries])
    assert expected < counted / 2


def test_few_photos_cannot_show_that_nothing_is_lost() -> None:
    assert bound_in_points(np.zeros(32)) == pytest.approx(100 * 0.5 / 32)
    assert bound_in_points(np.zeros(512)) == pytest.approx(100 * 0.5 / 512) == least_bound(512)


def test_where_int8_only_lowers_the_best_class_half_is_foretold() -> None:
    """Either sign is taken to be as likely; bias correction sees to it."""
    exact = random_logits(400, 8)
    rounded = exact.copy()
    np.put_along_axis(
        rounded, exact.argmax(axis=1)[:, None], exact.max(axis=1, keepdims=True) - np.float32(0.5), axis=1
    )
    changed = (rounded.argmax(axis=1) != exact.argmax(axis=1)).mean()
    assert change_probabilities(exact, rounded).mean() == pytest.approx(changed / 2)


def test_the_bound_is_a_standard_error_above_the_mean() -> None:
    probabilities = np.array([0.5] * 10 + [0.0] * 90)
    assert bound_in_points(probabilities) == pytest.approx(
        100 * (0.05 + np.sqrt(10 * 0.45**2 + 90 * 0.05**2 + 0.25) / 100)
    )
