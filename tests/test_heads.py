"""What outputs mean: scores, thresholds, and the two answers of one sigmoid."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import export_narrow, narrow_state, photos
from support.photos import synthetic_photo

from edge_effnet import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.heads import Head, among_decided, decisions_of, scores_of

LOGITS = np.array([-1.0, 0.0, 2.0], np.float32)


def test_a_sigmoid_is_each_class_by_itself() -> None:
    expected = [1 / (1 + math.exp(-float(value))) for value in LOGITS]
    np.testing.assert_allclose(scores_of(Head("sigmoid"), LOGITS, 3), expected, rtol=1e-6)
    assert scores_of(Head("sigmoid", "probabilities"), LOGITS, 3) is LOGITS
    np.testing.assert_allclose(scores_of(Head(), LOGITS, 3).sum(), 1, rtol=1e-6)
    assert scores_of(Head("sigmoid"), np.array([-1e30, 1e30], np.float32), 2).tolist() == [0, 1]


def test_one_sigmoid_with_two_labels_gives_both() -> None:
    assert decisions_of(Head("sigmoid"), 1, ("no", "yes")) == 2
    assert decisions_of(Head("sigmoid"), 1, ("yes",)) == 1
    assert decisions_of(Head(), 3, ("a", "b", "c")) == 3
    np.testing.assert_allclose(scores_of(Head("sigmoid"), LOGITS[2:], 2), [0.1192029, 0.8807971], rtol=1e-5)


def test_features_have_no_scores() -> None:
    with pytest.raises(UsageError, match="the network gives features, 3 numbers, and no scores of classes"):
        scores_of(Head("features"), LOGITS, 3)


def test_which_classes_hold() -> None:
    scores = np.array([0.2, 0.5, 0.9], np.float32)
    assert among_decided(Head(), scores, None) is None
    assert among_decided(Head("sigmoid"), scores, None) == {1, 2}
    assert among_decided(Head("sigmoid", thresholds=(0.1, 0.6, 0.95)), scores, None) == {0}
    assert among_decided(Head("sigmoid"), scores, {0, 2}) == {2}
    assert among_decided(Head("sigmoid"), scores[:1], None) is None


@pytest.mark.litert
@pytest.mark.onnx
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_heads_through_a_file(tmp_path: Path, ending: str) -> None:
    state, photo = narrow_state("b0"), synthetic_photo(1, 96, 80)
    path = tmp_path / f"m.{ending}"
    single = {**state, "classifier.weight": state["classifier.weight"][:1], "classifier.bias": np.float32([0.5])}
    export_narrow(single, "b0", path, labels=["dog", "cat"])
    with Classifier(path) as classifier:
        logit = float(classifier.logits(photo)[0])
        found = {prediction.label: prediction.score for prediction in classifier.predict(photo)}
    assert found == pytest.approx({"cat": 1 / (1 + math.exp(-logit)), "dog": 1 / (1 + math.exp(logit))}, rel=1e-5)
    export_narrow(state, "b0", path, head="sigmoid", labels=list("abcde"), thresholds=(0.5,))
    with Classifier(path) as classifier:
        scores = classifier.scores(photo)
        assert classifier.metadata is not None
        assert classifier.metadata.head == Head("sigmoid", thresholds=(0.5,) * 5)
        found = {prediction.index: prediction.score for prediction in classifier.predict(photo)}
        assert set(found) == set(np.flatnonzero(scores >= 0.5).tolist())
    export_narrow(state, "b0", path, head="features")
    with Classifier(path) as classifier:
        assert classifier.features(photo).shape == (320,)
        with pytest.raises(UsageError, match="gives features"):
            classifier.predict(photo)


@pytest.mark.litert
@pytest.mark.onnx
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_file_that_ends_in_probabilities(tmp_path: Path, ending: str) -> None:
    state, photo = narrow_state("b0"), synthetic_photo(1, 96, 80)
    for head in ("softmax", "sigmoid"):
        for kind in ("logits", "probabilities"):
            export_narrow(state, "b0", tmp_path / f"{kind}.{ending}", head=head, output_kind=kind)
        with (
            Classifier(tmp_path / f"logits.{ending}") as first,
            Classifier(tmp_path / f"probabilities.{ending}") as last,
        ):
            np.testing.assert_allclose(last.logits(photo), first.scores(photo), atol=1e-5)
            np.testing.assert_allclose(last.scores(photo), first.scores(photo), atol=1e-5)
    # Equal statistics need no border of bytes, which ONNX Runtime computes in its newest versions alone.
    given: dict[str, Any] = {"precision": "int8", "calibration": photos(2), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    for kind in ("logits", "probabilities"):
        export_narrow(state, "b0", tmp_path / f"int8-{kind}.{ending}", output_kind=kind, **given)
    with (
        Classifier(tmp_path / f"int8-logits.{ending}") as first,
        Classifier(tmp_path / f"int8-probabilities.{ending}") as last,
    ):
        np.testing.assert_allclose(last.logits(photo), first.scores(photo), atol=1e-5)
