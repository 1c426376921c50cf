from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_effnet.errors import UsageError
from edge_effnet.live import DecisionRule
from edge_effnet.live.decisions import Evidence, forget_frames, weigh

CLASSES = 4
PLAIN = DecisionRule(smoothing=1, enter=0.5, leave=0.3, agree=3, window=5, margin=0.1)


def announced(rule: DecisionRule, frames: Sequence[Sequence[float]]) -> list[int | None]:
    evidence, found = Evidence(), []
    for frame in frames:
        evidence = weigh(rule, evidence, np.asarray(frame, np.float32))
        found.append(evidence.announced)
    return found


def shows(index: int | None, score: float = 0.9) -> list[float]:
    return [score if index == number else 0.02 for number in range(CLASSES)]


rules = st.builds(
    lambda smoothing, thresholds, counts, margin: DecisionRule(
        smoothing, max(thresholds), min(thresholds), min(counts), max(counts), margin
    ),
    st.floats(0.05, 1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.floats(0, 1),
)
score_lists = st.lists(st.lists(st.floats(0, 1, width=32), min_size=CLASSES, max_size=CLASSES), max_size=40)


def test_it_takes_k_of_n_frames_to_be_announced() -> None:
    assert announced(PLAIN, [shows(0)] * 4) == [None, None, 0, 0]
    assert announced(PLAIN, [shows(0), shows(None), shows(0), shows(None), shows(0)]) == [None] * 4 + [0]
    assert announced(PLAIN, [shows(0), shows(None), shows(None), shows(0), shows(None), shows(0)]) == [None] * 6


def test_it_takes_k_of_n_frames_to_be_given_up() -> None:
    frames = [shows(0)] * 5 + [shows(None)] * 2 + [shows(0)] + [shows(None)]
    assert announced(PLAIN, frames) == [None, None, 0, 0, 0, 0, 0, 0, None]


def test_between_the_thresholds_nothing_changes() -> None:
    assert announced(PLAIN, [shows(0)] * 3 + [shows(0, 0.4)] * 20) == [None, None] + [0] * 21
    assert announced(PLAIN, [shows(0, 0.4)] * 20) == [None] * 20


def test_another_label_replaces_without_a_gap() -> None:
    assert announced(PLAIN, [shows(0)] * 5 + [shows(1)] * 5) == [None, None, 0, 0, 0, 0, 0, 1, 1, 1]


def test_two_labels_next_to_equal_do_not_take_turns() -> None:
    twins = [[0.45 + wobble, 0.45 - wobble, 0, 0] for wobble in (0.04, -0.04) * 20]
    found = announced(DecisionRule(smoothing=1, enter=0.4, leave=0.2, agree=1, window=1, margin=0.1), twins)
    assert set(found) == {0}
    assert announced(DecisionRule(smoothing=1, enter=0.4, leave=0.2, agree=1, window=1, margin=0), twins) == [0, 1] * 20


def test_smoothing_is_the_exponential_average() -> None:
    rule = DecisionRule(smoothing=0.25)
    first = weigh(rule, Evidence(), np.array([1, 0], np.float32))
    second = weigh(rule, first, np.array([0, 1], np.float32))
    assert first.smoothed is not None
    assert second.smoothed is not None
    np.testing.assert_allclose(second.smoothed, [0.75, 0.25])
    assert second.smoothed.dtype == np.float32


def test_a_single_wrong_frame_is_smoothed_away() -> None:
    frames = [shows(0)] * 10 + [shows(1)] + [shows(0)] * 10
    assert set(announced(DecisionRule(agree=1, window=1), frames)) == {0}


def test_after_a_gap_old_frames_do_not_count() -> None:
    before = Evidence()
    for _ in range(2):
        before = weigh(PLAIN, before, np.asarray(shows(0), np.float32))
    after = weigh(PLAIN, forget_frames(before), np.asarray(shows(0), np.float32))
    assert after.announced is None
    held = weigh(PLAIN, before, np.asarray(shows(0), np.float32))
    assert forget_frames(held).announced == 0
    assert forget_frames(held).smoothed is None


def test_what_the_lists_leave_out_is_never_announced() -> None:
    """Left out means a score of 0, which passes no threshold, not even 0."""
    assert announced(DecisionRule(smoothing=1, enter=0, leave=0, agree=1, window=1), [[0, 0, 0, 0]] * 5) == [None] * 5


@given(rules, score_lists)
def test_a_change_needs_k_frames_of_the_window(rule: DecisionRule, frames: list[list[float]]) -> None:
    """So the same label can't be announced, given up and announced again within fewer than k frames."""
    runs = [(label, len(list(run))) for label, run in groupby(announced(rule, frames))]
    if len(runs) > 1 and runs[0][0] is None:
        assert runs[0][1] >= rule.agree - 1
    for (_, length), (label, _) in pairwise(runs):
        if label is None:
            assert length >= rule.agree  # it was held for k frames at least before it was given up


@given(rules, score_lists)
def test_what_is_announced_had_passed_the_threshold(rule: DecisionRule, frames: list[list[float]]) -> None:
    evidence = Evidence()
    for frame in frames:
        before, evidence = evidence, weigh(rule, evidence, np.asarray(frame, np.float32))
        assert evidence.smoothed is not None
        if evidence.announced is not None and evidence.announced != before.announced:
            assert evidence.candidates.count(evidence.announced) >= rule.agree
        if before.announced is not None and evidence.announced is None:
            assert evidence.smoothed[before.announced] < rule.leave
        assert len(evidence.candidates) <= rule.window


@given(rules, st.lists(st.floats(0, 1, width=32), min_size=CLASSES, max_size=CLASSES), st.integers(1, 30))
def test_a_still_picture_changes_at_most_once(rule: DecisionRule, frame: list[float], count: int) -> None:
    found = announced(rule, [frame] * count)
    assert len(list(groupby(found))) <= 2


@given(rules, score_lists)
def test_nothing_is_changed_in_place(rule: DecisionRule, frames: list[list[float]]) -> None:
    arrays = [np.asarray(frame, np.float32) for frame in frames]
    for array in arrays:
        array.setflags(write=False)
    evidence = Evidence()
    for array in arrays:
        evidence = weigh(rule, evidence, array)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smoothing": 0.0}, "smoothing is 0.0; expected above 0"),
        ({"smoothing": float("nan")}, "smoothing is nan"),
        ({"enter": 0.2, "leave": 0.3}, "enter is 0.2, leave 0.3; expected 0 ≤ leave ≤ enter ≤ 1"),
        ({"agree": 6, "window": 5}, "agree is 6 of 5 frames"),
        ({"agree": 0}, "agree is 0 of 5 frames"),
        ({"margin": 1.5}, "margin is 1.5; expected 0 to 1"),
    ],
)
def test_rules_that_cannot_be_meant(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        DecisionRule(**wrong)
