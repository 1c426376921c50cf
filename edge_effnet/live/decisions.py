"""From flickering scores to one steady label: pure functions over records, no clock, no camera.

Smoothing: an exponential average of the scores. Hysteresis: a label is taken up above one threshold and given up below
a lower one. Debounce: both need k of the last n frames. A label that holds is replaced only by one that leads by a
margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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
        if not 0 < self.smoothing <= 1:
            raise UsageError(f"smoothing is {self.smoothing}; expected above 0, at most 1 (1: none)")
        if not 0 <= self.leave <= self.enter <= 1:
            raise UsageError(f"enter is {self.enter}, leave {self.leave}; expected 0 ≤ leave ≤ enter ≤ 1")
        if not 1 <= self.agree <= self.window:
            raise UsageError(f"agree is {self.agree} of {self.window} frames; expected 1 ≤ agree ≤ window")
        if not 0 <= self.margin <= 1:
            raise UsageError(f"margin is {self.margin}; expected 0 to 1")


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


def weigh(rule: DecisionRule, evidence: Evidence, scores: Scores) -> Evidence:
    """The evidence after one more frame. scores: float32[C], 0..1; classes that may not be announced have 0."""
    smoothed = _average(rule.smoothing, evidence.smoothed, scores)
    candidate = _candidate(rule, smoothed, evidence.announced)
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
