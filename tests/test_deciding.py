"""What heads decide, and the share of it that two networks agree on."""

from __future__ import annotations

import numpy as np
import pytest

from edge_effnet.deciding import agreement, held, named
from edge_effnet.heads import Head, class_logits, lowest_outputs

ONE = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.0]], np.float32)
OTHER = np.array([[1.0, 1.5, 0.5], [0.1, 0.3, -0.1]], np.float32)


def test_thresholds_become_logits_or_stay_probabilities() -> None:
    np.testing.assert_allclose(lowest_outputs(Head("sigmoid", thresholds=(0.5, 0.9)), 2), [0, np.log(9)])
    assert lowest_outputs(Head("sigmoid", "probabilities"), 3).tolist() == [0.5] * 3
    assert lowest_outputs(Head("sigmoid", thresholds=(0.0, 1.0)), 2).tolist() == [-np.inf, np.inf]


def test_agreement_of_each_kind_of_head() -> None:
    assert agreement(Head(), ONE, OTHER).tolist() == [0, 1]
    assert held(Head("sigmoid"), ONE).tolist() == [[True, False, True], [True, True, True]]
    np.testing.assert_allclose(agreement(Head("sigmoid"), ONE, OTHER), [2 / 3, 2 / 3])
    cosines = agreement(Head("features"), ONE, OTHER)
    assert cosines[1] == pytest.approx(0.07 / np.sqrt(0.05 * 0.11), rel=1e-6)
    assert agreement(Head("features"), ONE * 0, OTHER).tolist() == [1, 1]


def test_what_a_photo_is_taken_for() -> None:
    single = Head("sigmoid", thresholds=(0.9,))
    outputs = np.array([[1.0], [3.0]], np.float32)
    assert named(single, outputs, 2).tolist() == [0, 1]
    assert named(single, outputs, 1).tolist() == [-1, 0]
    assert named(Head("sigmoid"), ONE, 3).tolist() == [0, 1]
    assert [int(class_logits(single, row, 2).argmax()) for row in outputs] == [0, 1]
