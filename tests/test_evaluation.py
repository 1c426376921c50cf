"""Accuracy and confusion, from a classifier whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.datasets import LabelledImage
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.evaluation import evaluate
from edge_effnet.heads import PLAIN_HEAD
from edge_effnet.unknown import UnknownMeasure


class Answers:
    """Gives each photo's name (a class index) as the best of seven classes, the next ones following."""

    grouping, unknown, head, outputs = None, None, PLAIN_HEAD, 7
    num_classes, labels, model_path, engine = 7, tuple("abcdefg"), Path("m.tflite"), "none"

    def __init__(self) -> None:
        self.timing_ms = {"decode": 1.0, "inference": 10.0}

    def logits(self, path: Path) -> Any:
        if path.name == "broken":
            raise ImageError("broken: no image")
        self.timing_ms = {"decode": 2.0, "inference": self.timing_ms["inference"] + 10}
        return -np.float32((np.arange(7) - int(path.name)) % 7)


def run(*photos: tuple[str, set[int]]) -> dict[str, Any]:
    return evaluate(Answers(), [LabelledImage(Path(name), frozenset(classes)) for name, classes in photos])  # type: ignore[arg-type]


def test_fractions_and_confusion() -> None:
    """Photo 3 of class 0: second to last (top-5 misses); photo 6 of class 0: second best."""
    found = run(("0", {0}), ("6", {0}), ("2", {0}), ("5", {5}))
    assert (found["images"], found["top1"], found["top5"]) == (4, 0.5, 0.75)
    assert found["confusion"][0] == [1, 0, 1, 0, 0, 0, 1]
    assert sum(map(sum, found["confusion"])) == 4
    assert found["per_class"] == [
        {"index": 0, "label": "a", "images": 3, "top1": 1 / 3},
        {"index": 5, "label": "f", "images": 1, "top1": 1.0},
    ]
    assert (found["model"], found["engine"]) == ("m.tflite", "none")
    assert "unreadable" not in found


class Telling(Answers):
    """Has a class for what is none of the others, and a likeness that finds no photo of it but the first."""

    labels = ("a", "b", "c", "d", "e", "f", "unknown")
    unknown: Any = None

    def logits(self, path: Path) -> Any:
        self.unknown = UnknownMeasure("similarity", 0.3 if path.parent.name == "far" else 0.6, 0.5)
        return super().logits(path)


def test_a_files_own_class_of_what_is_none_counts_as_none() -> None:
    rows = [("far/6", {6}), ("6", {6}), ("1", {6}), ("far/1", {1}), ("6", {2}), ("3", {3}), ("4", {4})]
    photos = [LabelledImage(Path(name), frozenset(classes)) for name, classes in rows]
    found = evaluate(Telling(), photos)["unknown"]  # type: ignore[arg-type]
    assert (found["known"], found["known_called_unknown"]) == (4, 0.5)
    assert (found["unknown"], found["unknown_recognised"]) == (3, 2 / 3)
    assert found["auroc"] == pytest.approx(6.5 / 12), "three pairs in order, seven ties of twelve"


def test_the_fifth_counts_and_the_sixth_does_not() -> None:
    assert [run(("1", {truth}))["top5"] for truth in (5, 6)] == [1.0, 0.0]


def test_a_label_that_stands_twice_counts_either_way() -> None:
    found = run(("4", {1, 4}), ("2", {1, 4}))
    assert found["top1"] == 0.5
    assert found["confusion"][4][4] == 1
    assert found["confusion"][1][2] == 1


def test_latencies() -> None:
    found = run(*[("0", {0})] * 5)["latency_ms"]
    assert found == {
        "decode": {"p50": 2.0, "p90": 2.0, "p99": 2.0},
        "inference": {"p50": 40.0, "p90": 56.0, "p99": 59.6},
    }


def test_unreadable_photos_do_not_count() -> None:
    found = run(("1", {1}), ("broken", {2}))
    assert (found["images"], found["top1"], found["unreadable"]) == (1, 1.0, ["broken: no image"])
    with pytest.raises(UsageError, match=r"none of the 2 photos can be read \(broken: no image; broken: no image\)"):
        run(("broken", {1}), ("broken", {1}))
