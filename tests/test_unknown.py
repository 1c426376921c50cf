from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_effnet import Classifier
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.evaluation import auroc
from edge_effnet.unknown import (
    Answers,
    References,
    UnknownMeasure,
    UnknownRule,
    nearest_similarity,
    packed_references,
    read_references,
    unpacked_references,
    with_unknown,
    with_unknown_by_scores,
)

RULE = UnknownRule(0.5, 0.05, 2, 4, 0.05, "0" * 64)
SCORES = np.array([0.7, 0.2, 0.1], np.float32)


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.49, 0.4999, 0.5001, 0.51, 0.9, 1.0])
@pytest.mark.parametrize(
    "scores", [SCORES, np.array([0.34, 0.33, 0.33], np.float32), np.array([1.0, 0, 0], np.float32)]
)
def test_unknown_leads_exactly_below_the_threshold(value: float, scores: Any) -> None:
    measured = UnknownMeasure("similarity", value, 0.5)
    found = with_unknown(scores, measured, width=0.05, place=3)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=1e-6)
    assert (int(found.argmax()) == 3) == measured.is_unknown == (value < 0.5)
    assert np.argmax(found[:3]) == np.argmax(scores)


def test_a_network_that_knows_unknown_itself_keeps_its_place() -> None:
    """The class's own score and the references' share stand together, and the other classes alone decide it."""
    sure = with_unknown(SCORES, UnknownMeasure("similarity", 0.9, 0.5), width=0.05, place=2)
    assert len(sure) == 3
    np.testing.assert_allclose(sure, SCORES, atol=1e-3)
    none = with_unknown(SCORES, UnknownMeasure("similarity", 0.3, 0.5), width=0.05, place=2)
    assert none[2] > 0.9
    own = with_unknown(SCORES[::-1].copy(), UnknownMeasure("similarity", 0.9, 0.5), width=0.05, place=2)
    assert own.argmax() == 2


@pytest.mark.parametrize(("best", "leads"), [(0.49, True), (0.51, False), (1.0, False)])
def test_by_the_scores_unknown_leads_below_a_half(best: float, leads: bool) -> None:
    scores = np.array([best, (1 - best) / 2, (1 - best) / 2], np.float32)
    found, measured = with_unknown_by_scores(scores, place=3)
    assert (int(found.argmax()) == 3) == measured.is_unknown == leads
    assert found.sum() == pytest.approx(1, abs=1e-6)


def test_similarity_is_the_mean_of_the_nearest() -> None:
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
    assert nearest_similarity(rows, np.array([[2.0, 0]], np.float32), 2) == pytest.approx([0.8])
    assert References(RULE, rows).similarity(np.array([5, 0], np.float32)) == pytest.approx(0.8)


def test_references_lie_in_the_file_as_directions() -> None:
    rows = np.random.default_rng(0).random((4, 64)).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = unpacked_references(packed_references(7 * rows), 4)
    assert ((found * unit).sum(axis=1) > 0.9999).all()


def test_what_is_announced_has_a_name_for_every_answer() -> None:
    assert Answers(("a", "b"), 2, "references", None).labels == ("a", "b", "unknown")
    assert Answers(("a", "unknown"), 2, "references", None).labels == ("a", "unknown")
    assert Answers(None, 2, "scores", None).labels == ("class 0", "class 1", "unknown")
    assert Answers(None, 2, "nothing", None).labels is None
    assert Answers(("a", "b"), 2, "nothing", None).count == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "magic"}, "measure 'magic'; expected 'similarity'"),
        ({"threshold": 2}, "threshold 2.0"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"width": 0}, "width 0.0"),
        ({"neighbours": 9}, "9 neighbours of 4 references"),
        ({"references": 1 << 20}, "references"),
        ({"share": None}, "unknown: "),
        ({"neighbours": "two"}, "unknown: "),
    ],
)
def test_rules_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UnknownRule.from_dict({**RULE.to_dict(), **change})
    assert UnknownRule.from_dict(RULE.to_dict()) == RULE


def test_references_that_are_missing() -> None:
    with pytest.raises(ModelFileError, match="m: has 0 bytes of references for unknown; expected 4 × 64"):
        read_references(RULE, None, size=64, name="m")
    with pytest.raises(ModelFileError, match="don't have the SHA-256"):
        read_references(replace(RULE, sha256="1" * 64), bytes(256), size=64, name="m")


def test_modes(bundled: Classifier) -> None:
    with pytest.raises(UsageError, match="unknown is 'perhaps'; expected one of auto, off, scores"):
        Classifier(unknown="perhaps")  # type: ignore[arg-type]
    assert bundled.answers == bundled.labels
    with Classifier(unknown="scores", threads=1) as classifier:
        assert (classifier.num_classes, classifier.num_answers) == (1000, 1001)
        found = classifier.predict(np.full((224, 224, 3), 200, np.uint8), top_k=1)
        assert classifier.unknown is not None
        assert (found[0].label == "unknown") == classifier.unknown.is_unknown


@pytest.mark.parametrize(
    ("higher", "lower", "area"), [([2, 3], [0, 1], 1.0), ([0, 1], [2, 3], 0.0), ([1, 1], [1], 0.5), ([1, 3], [2], 0.5)]
)
def test_the_area_under_the_curve(higher: list[float], lower: list[float], area: float) -> None:
    assert auroc(higher, lower) == area
