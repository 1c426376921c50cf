from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_effnet import Prediction
from edge_effnet.errors import UsageError
from edge_effnet.prediction import top_predictions

SCORES = np.array([0.1, 0.4, 0.1, 0.25, 0.15], np.float32)
LABELS = ("a", "b", "c", "d", "e")


def indices(**options: object) -> list[int]:
    return [found.index for found in top_predictions(SCORES, LABELS, **options)]  # type: ignore[arg-type]


def test_best_first() -> None:
    assert top_predictions(SCORES, LABELS, top_k=1) == [Prediction(1, "b", float(np.float32(0.4)))]
    assert indices() == [1, 3, 4, 0, 2]
    assert indices(top_k=3) == [1, 3, 4]


def test_more_than_there_are_gives_all_and_equal_scores_keep_their_order() -> None:
    assert indices(top_k=100) == [1, 3, 4, 0, 2]


def test_threshold_is_inclusive() -> None:
    assert indices(threshold=0.25) == [1, 3]
    assert indices(threshold=1.0) == []
    assert indices(threshold=0.0) == [1, 3, 4, 0, 2]


def test_among() -> None:
    assert indices(among={0, 3}) == [3, 0]
    assert indices(among=set()) == []


def test_without_labels() -> None:
    assert top_predictions(SCORES, None, top_k=1)[0].label == "class 1"


def test_wrong_options() -> None:
    for top_k in (0, -1):
        with pytest.raises(UsageError, match=f"top_k is {top_k}; expected at least 1"):
            indices(top_k=top_k)
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match=r"threshold is .*; expected 0 to 1"):
            indices(threshold=threshold)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30), st.integers(1, 40), st.floats(0, 1))
def test_sorted_and_bounded(values: list[float], top_k: int, threshold: float) -> None:
    found = top_predictions(np.array(values, np.float32), None, top_k=top_k, threshold=threshold)
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == min(top_k, sum(np.float32(value) >= np.float32(threshold) for value in values))
    assert all(values[item.index] == item.score for item in found)


def test_more_than_all_are_all() -> None:
    assert len(top_predictions(np.array([0.1, 0.9], np.float32), None, top_k=10**30)) == 2
