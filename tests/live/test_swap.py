"""Another network while frames come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import Camera, view
from support.chromium import eventually

from edge_effnet import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live import DecisionRule, LiveClassifier, default_rule
from edge_effnet.live.judge import Judging, rule_for
from edge_effnet.live.state import live_state
from edge_effnet.live.swap import Exchange

pytestmark = pytest.mark.litert
AT_ONCE = DecisionRule(smoothing=1, enter=0.0, leave=0.0, agree=1, window=1)


@pytest.fixture
def small(exported: dict[tuple[str, str], Path]) -> Iterator[Classifier]:
    """Three labels: cat, dog, Köln."""
    with Classifier(exported["int8", "tflite"], threads=1) as opened:
        yield opened


def test_no_frame_is_lost_and_back_again(bundled: Classifier, small: Classifier) -> None:
    """Every frame is waited for, and numbered: each is classified, by one or the other."""
    turn = threading.Semaphore(0)
    returned: list[Classifier] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(60):
            if number in (20, 40):
                turn.release()
            yield view("coffee")

    with LiveClassifier(bundled, frames(), rule=AT_ONCE) as live:
        turn.acquire()
        returned.append(live.swap(small))
        turn.acquire()
        returned.append(live.swap(bundled))
        assert live.wait(60)
        progress = live.progress
    assert (progress.classified, progress.failed, live.reader.state.received) == (60, 0, 60)
    assert returned == [bundled, small]
    labels = [event.label for event in live.events()]
    assert labels[0] == "espresso"
    assert labels[1] is None, "a label that the new network hasn't is given up"
    assert labels[2] in ("cat", "dog", "Köln")
    assert labels[-1] == "espresso"


def test_what_holds_goes_on_where_the_new_network_has_it(bundled: Classifier) -> None:
    other = bundled.twin(threads=1)
    camera = Camera("coffee")
    with LiveClassifier(bundled, camera.opener()) as live:
        eventually(lambda: live.journal.last_number() == 1)
        since = live.progress.announcement
        assert live.swap(other) is bundled
        seen = live.progress.classified
        eventually(lambda: live.progress.classified > seen + 3)
        assert live.progress.announcement == since
        assert live.journal.last_number() == 1
        assert live_state(live)["announced"]["label"] == "espresso"
    other.close()


def test_without_frames_it_is_swapped_too(bundled: Classifier, small: Classifier) -> None:
    camera = Camera("coffee")
    with LiveClassifier(bundled, camera.opener()) as live:
        eventually(lambda: live.journal.last_number() == 1)
        camera.plugged = False
        eventually(lambda: live.reader.state.problem)
        assert live.swap(small) is bundled
        assert live.classifier is small
        assert [event.label for event in live.journal.after(1)] == [None]
        assert live_state(live)["announced"] is None
    assert live.swap(bundled) is small, "before and after running there is nobody to wait for"


def test_a_thread_that_does_not_come(bundled: Classifier, small: Classifier) -> None:
    exchange = Exchange(Judging().judge(bundled), Judging().judge_next)
    exchange.begin()
    with pytest.raises(UsageError, match=r"didn't come to take another network within 0\.01 s"):
        exchange.offer(small, patience_s=0.01)
    assert not exchange.is_offered
    assert exchange.judge.classifier is bundled


def test_lists_and_rules_for_the_next_network(small: Classifier) -> None:
    judge = Judging(allow=("espresso", "cat"), deny=("missile", "cat")).judge_next(small)
    assert judge.allowed is None, "lists that leave none of its labels are passed over"
    judge = Judging(allow=("espresso", "CAT ")).judge_next(small)
    np.testing.assert_array_equal(judge.allowed, [1, 0, 0])  # type: ignore[arg-type]
    assert (judge.index_of("cat"), judge.index_of("dog"), judge.index_of("espresso")) == (0, None, None)
    assert judge.rule == default_rule(3)
    assert Judging(AT_ONCE).judge_next(small).rule is AT_ONCE


def test_the_rule_suits_the_head(small: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_effnet.heads import Head

    assert (rule_for(small).enter, rule_for(small).leave) == (0.8, 0.6)
    monkeypatch.setattr(small, "head", Head("sigmoid"))
    sigmoid: Any = rule_for(small)
    assert (sigmoid.enter, sigmoid.leave) == (0.5, 0.3)
    with LiveClassifier(small, [view("coffee")]) as live:
        assert (live.rule.enter, live.rule.leave) == (0.5, 0.3)
        live.wait(60)
