"""Figures of scores where several classes may hold at once, against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edge_effnet.decided import average_precision, balanced_accuracy, decided_figures, f1
from edge_effnet.heads import Head, class_logits, scores_of

SCORES = np.array([0.9, 0.8, 0.3, 0.1], np.float32)
TRUTH = np.array([True, False, True, False])


def test_average_precision_by_hand() -> None:
    assert average_precision(SCORES, TRUTH) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(np.full(4, 0.5, np.float32), TRUTH) == pytest.approx(0.5)
    assert average_precision(SCORES, np.zeros(4, bool)) is None


def test_f1_and_balanced_accuracy_by_hand() -> None:
    held = SCORES >= 0.5
    assert f1(held, TRUTH) == pytest.approx(0.5)
    assert f1(np.zeros(2, bool), np.zeros(2, bool)) == 0
    assert balanced_accuracy(held, np.array([True, True, False, True])) == pytest.approx((2 / 3 + 1) / 2)
    assert balanced_accuracy(held, np.ones(4, bool)) is None


def test_figures_of_two_decisions() -> None:
    scores, truth = np.stack([1 - SCORES, SCORES], axis=1), np.stack([~TRUTH, TRUTH], axis=1)
    found = decided_figures(Head("sigmoid"), scores, truth, ("no", "yes"))
    assert found["balanced_accuracy"] == pytest.approx(0.5)
    assert [row["label"] for row in found["decisions"]] == ["no", "yes"]
    assert found["macro_f1"] == pytest.approx(0.5)


def test_one_logit_is_the_second_of_two() -> None:
    logits = class_logits(Head("sigmoid"), np.array([1.5], np.float32), 2)
    assert logits.tolist() == [0.0, 1.5]
    np.testing.assert_allclose(scores_of(Head(), logits, 2), scores_of(Head("sigmoid"), logits[1:], 2), rtol=1e-6)
    assert class_logits(Head(), SCORES, 4) is SCORES
