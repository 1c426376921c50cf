"""From flickering scores to one steady label: pure functions over records, no clock, no camera.

Smoothing: an exponential average of the scores. Hysteresis: a label is taken up above one threshold and given up below
a lower one. Debounce: both need k of the last n frames. A label that holds is replaced only by one that leads by a
margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import integer, real_numbers
from edge_effnet.errors import UsageError

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DecisionRule:
    """When a label is announced and when it is given up.

    smoothing: weight of the newest frame in the average, 0 < smoothing ≤ 1; 1 is no smoothing.
    enter: lowest smoothed score to announce a label; leave: it is given up below this; 0 ≤ leave ≤ enter ≤ 1.
    agree, window: k of the last n frames must say so, 1 ≤ agree ≤ window.
    margin: lead a label needs over the announced one while that still holds, 0..1.
    Raises UsageError for values that can't be meant.
    """

    smoothing: float = 0.4
    enter: float = 0.25
    leave: float = 0.1
    agree: int = 3
    window: int = 5
    margin: float = 0.15

    def __post_init__(self) -> None:
        real_numbers("rule", self.smoothing, self.enter, self.leave, self.margin)
        integer(self.agree, "agree")
        integer(self.window, "window")
        if not 0 < self.smoothing <= 1:
            raise UsageError(f"smoothing is {self.smoothing}; expected above 0, at most 1 (1: none)")
        if not 0 <= self.leave <= self.enter <= 1:
            raise UsageError(f"enter is {self.enter}, leave {self.leave}; expected 0 ≤ leave ≤ enter ≤ 1")
        if not 1 <= self.agree <= self.window:
            raise UsageError(f"agree is {self.agree} of {self.window} frames; expected 1 ≤ agree ≤ window")
        if not 0 <= self.margin <= 1:
            raise UsageError(f"margin is {self.margin}; expected 0 to 1")


#: Most classes of a model → what is much for one of them, and what is little: (enter, leave).
_MUCH_AND_LITTLE = ((3, (0.8, 0.6)), (20, (0.7, 0.4)), (100, (0.5, 0.25)))
_OF_INDEPENDENT_SCORES = (0.5, 0.3)
Head: TypeAlias = Literal["softmax", "sigmoid"]


def default_rule(num_classes: int, *, head: Head = "softmax") -> DecisionRule:
    """The rule for a model: of 1,000 classes 25 % is much, of ten it is next to nothing.

    head: what gives the scores; those of a sigmoid don't share one sum.
    """
    usual = DecisionRule()
    enter, leave = next((pair for most, pair in _MUCH_AND_LITTLE if num_classes <= most), (usual.enter, usual.leave))
    if head == "sigmoid":
        enter, leave = _OF_INDEPENDENT_SCORES
    return replace(usual, enter=enter, leave=leave)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the last frames said. smoothed: float32[C] or None before the first frame.

    candidates: of the last frames, the class that could be announced, or None. weak: whether the announced one was
    below `leave`. announced: the class that is announced, or None.
    """

    smoothed: Scores | None = None
    candidates: tuple[int | None, ...] = ()
    weak: tuple[bool, ...] = ()
    announced: int | None = None


def forget_frames(evidence: Evidence) -> Evidence:
    """After a gap: what was announced stays, what old frames said doesn't count any more."""
    return Evidence(announced=evidence.announced)


def weigh(rule: DecisionRule, evidence: Evidence, scores: Scores, *, allowed: Scores | None = None) -> Evidence:
    """The evidence after one more frame. scores: float32[C], 0..1. allowed: float32[C], 0 for classes that may not be
    announced.
    """
    smoothed = _average(rule.smoothing, evidence.smoothed, scores)
    candidate = _candidate(rule, _only(smoothed, allowed), evidence.announced)
    weak = evidence.announced is not None and bool(smoothed[evidence.announced] < rule.leave)
    seen = Evidence(
        smoothed,
        (*evidence.candidates, candidate)[-rule.window :],
        (*evidence.weak, weak)[-rule.window :],
        evidence.announced,
    )
    if candidate is not None and candidate != evidence.announced and seen.candidates.count(candidate) >= rule.agree:
        return replace(seen, announced=candidate, weak=())
    if seen.weak.count(True) >= rule.agree and weak:
        return replace(seen, announced=None, weak=())
    return seen


def weigh_still(rule: DecisionRule, scores: Scores, *, allowed: Scores | None = None) -> Evidence:
    """The evidence of one picture alone, as of a photo in a folder: no average, no other frames to agree with."""
    return weigh(replace(rule, smoothing=1.0, agree=1, window=1), Evidence(), scores, allowed=allowed)


@dataclass(frozen=True)
class Waiting:
    """Why the best class isn't announced. reason: "enter" (its score is too low), "agree" (too few frames say so) or
    "margin" (it doesn't lead the announced one by enough). value: its score, number of frames, or lead.
    """

    reason: Literal["enter", "agree", "margin"]
    index: int
    score: float
    value: float


def why_waiting(rule: DecisionRule, evidence: Evidence, *, allowed: Scores | None = None) -> Waiting | None:
    """What keeps the best class from being announced; None where it is, or where no frame was seen."""
    if evidence.smoothed is None:
        return None
    scores = _only(evidence.smoothed, allowed)
    best = int(np.argmax(scores))
    score = float(scores[best])
    if best == evidence.announced:
        return None
    if score < rule.enter or score <= 0:
        return Waiting("enter", best, score, score)
    if evidence.announced is not None and _candidate(rule, scores, evidence.announced) != best:
        return Waiting("margin", best, score, score - float(scores[evidence.announced]))
    return Waiting("agree", best, score, evidence.candidates.count(best))


def _only(scores: Scores, allowed: Scores | None) -> Scores:
    return scores if allowed is None else scores * allowed


def _average(weight: float, before: Scores | None, scores: Scores) -> Scores:
    if before is None or weight == 1:
        return scores
    return before + np.float32(weight) * (scores - before)


def _candidate(rule: DecisionRule, smoothed: Scores, announced: int | None) -> int | None:
    """The class that this frame speaks for. While the announced one holds, another must lead it by the margin."""
    best = int(np.argmax(smoothed))
    score = smoothed[best]
    if score < rule.enter or score <= 0:
        return None
    if announced is None or announced == best or smoothed[announced] < rule.leave:
        return best
    return best if score >= smoothed[announced] + rule.margin else announced
