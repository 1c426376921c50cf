"""Agreement of two classifiers whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.photos import synthetic_photo

from edge_effnet.comparison import Agreement, compare, comparison_photos, sqnr_db
from edge_effnet.datasets import LabelledImage
from edge_effnet.decoding import ImageRules
from edge_effnet.errors import UsageError
from edge_effnet.heads import PLAIN_HEAD, Head
from edge_effnet.numerics import softmax


class Answers:
    """Gives the same logits for any photo; `foreign`: as a file of another maker that ends in a softmax."""

    engine, head = "none", PLAIN_HEAD
    image_rules = ImageRules()

    def __init__(
        self, *logits: float, name: str = "m.tflite", labels: tuple[str, ...] | None = None, foreign: bool = False
    ) -> None:
        self._values = np.float32(logits)
        self.num_classes, self.labels, self.model_path, self.timing_ms = (
            len(logits),
            labels,
            Path(name),
            {"inference": 2.0},
        )
        self.metadata = None if foreign else object()

    def logits(self, _photo: Any) -> Any:
        return self._values

    def scores(self, _photo: Any) -> Any:
        return self._values


def run(a: Answers, b: Answers, *photos: LabelledImage) -> dict[str, Any]:
    return compare(a, b, photos)  # type: ignore[arg-type]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    synthetic_photo(0, 8, 8).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def labelled(path: Path, *classes: int) -> LabelledImage:
    return LabelledImage(path, frozenset(classes))


def test_numbers_by_hand(photo: Path) -> None:
    """Six classes: B swaps the best two and drops class 4 from the five best. Σa² = 91, Σ(b−a)² = 1 + 1 + 2.5²."""
    a, b = Answers(6, 5, 4, 3, 2, 1, name="a.tflite"), Answers(5, 6, 4, 3, -0.5, 1, name="b.tflite")
    found = run(a, b, labelled(photo, 1), labelled(photo, 0))
    assert (found["images"], found["top1_agreement"], found["top5_agreement"]) == (2, 0.0, 0.8)
    assert found["logit_sqnr_db"] == pytest.approx(10 * math.log10(91 / 8.25))
    expected = np.abs(softmax(np.float32([5, 6, 4, 3, -0.5, 1])) - softmax(np.float32([6, 5, 4, 3, 2, 1]))).mean()
    assert found["mean_abs_score_difference"] == pytest.approx(expected, rel=1e-5)
    assert found["a"] == {"model": "a.tflite", "engine": "none", "top1": 0.5, "top5": 1.0, "inference_ms": 2.0}
    assert found["b"]["top1"] == 0.5
    assert "unreadable" not in found


def test_sigmoid_heads_are_compared_by_what_they_decide(photo: Path) -> None:
    """The best label is the same, one of four decisions isn't; a threshold of 0.9 lies at a logit of 2.2."""
    a, b = Answers(3, 1, -1, -2), Answers(3, -0.1, -1, -2)
    a.head = b.head = Head("sigmoid")
    found = run(a, b, labelled(photo), labelled(photo))
    assert (found["top1_agreement"], found["decision_agreement"]) == (1.0, 0.75)
    b.head = Head("sigmoid", thresholds=(0.9, 0.1, 0.5, 0.5))
    assert run(a, b, labelled(photo))["decision_agreement"] == 1.0
    one, other = Answers(0.2), Answers(-0.1)
    one.head = other.head = Head("sigmoid")
    found = run(one, other, labelled(photo))
    assert (found["top1_agreement"], found["decision_agreement"]) == (0.0, 0.0)
    assert found["logit_sqnr_db"] == pytest.approx(10 * math.log10(0.04 / 0.09), rel=1e-5)


def test_the_reference_is_a(photo: Path) -> None:
    small, large = Answers(1, 0), Answers(3, 0)
    assert run(small, large, labelled(photo))["logit_sqnr_db"] == pytest.approx(10 * math.log10(1 / 4))
    assert run(large, small, labelled(photo))["logit_sqnr_db"] == pytest.approx(10 * math.log10(9 / 4))


def test_identical_models_and_unlabelled_photos(photo: Path) -> None:
    found = run(Answers(1, 2, 3), Answers(1, 2, 3), labelled(photo))
    assert (
        found["top1_agreement"],
        found["top5_agreement"],
        found["mean_abs_score_difference"],
        found["logit_sqnr_db"],
    ) == (1.0, 1.0, 0.0, None)
    assert found["a"]["top1"] is found["a"]["top5"] is found["b"]["top1"] is None


def test_a_softmax_inside_is_not_taken_twice(photo: Path) -> None:
    found = run(Answers(0.75, 0.25, foreign=True), Answers(math.log(3), 0), labelled(photo))
    assert found["mean_abs_score_difference"] == pytest.approx(0, abs=1e-6)
    assert found["logit_sqnr_db"] is None or found["logit_sqnr_db"] > 100


def test_unreadable_photos_do_not_count(photo: Path) -> None:
    broken = photo.with_name("broken.jpg")
    broken.write_bytes(b"broken")
    found = run(Answers(1, 0), Answers(1, 0), labelled(broken, 0), labelled(photo, 0))
    assert (found["images"], found["a"]["top1"], len(found["unreadable"])) == (1, 1.0, 1)
    with pytest.raises(UsageError, match=r"none of the 1 photos can be read \(.*broken\.jpg"):
        run(Answers(1, 0), Answers(1, 0), labelled(broken, 0))


def test_models_of_other_classes(photo: Path) -> None:
    with pytest.raises(UsageError, match=r"m\.tflite has 2 classes, m\.tflite 3; expected as many"):
        run(Answers(1, 0), Answers(1, 0, 0), labelled(photo))
    with pytest.raises(UsageError, match=r"name class 1: 'dog' and 'horse'; .* --labels FILE"):
        run(Answers(1, 0, labels=("cat", "dog")), Answers(1, 0, labels=("Cat", "horse")), labelled(photo))
    assert run(Answers(1, 0, labels=("cat", "dog")), Answers(1, 0), labelled(photo))["images"] == 1


@pytest.mark.parametrize(
    ("signal", "error", "expected"), [(100.0, 1.0, 20.0), (1.0, 0.0, None), (0.0, 1.0, None), (0.0, 0.0, None)]
)
def test_decibels(signal: float, error: float, expected: float | None) -> None:
    assert sqnr_db(signal, error) == expected


def test_ties_keep_index_order() -> None:
    agreement = Agreement()
    flat = np.zeros(7, np.float32)
    agreement.add(flat, flat, softmax(flat), softmax(flat))
    assert agreement.to_dict()["top5_agreement"] == 1.0


def test_which_photos(tmp_path: Path) -> None:
    def photos(folder: Path) -> tuple[list[tuple[str, set[int]]], str | None]:
        found, reason = comparison_photos(folder, num_classes=2, labels=("cat", "dog"))
        return [(item.path.name, set(item.classes)) for item in found], reason

    for name in ("cat", "dog"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        synthetic_photo(0, 8, 8).save(tmp_path / "classes" / name / f"{name}.png")
    assert photos(tmp_path / "classes") == ([("cat.png", {0}), ("dog.png", {1})], None)
    (tmp_path / "classes" / "dog").rename(tmp_path / "classes" / "horse")
    found, reason = photos(tmp_path / "classes")
    assert found == [("cat.png", set()), ("dog.png", set())]
    assert reason is not None
    assert "label 'horse' is not among the model's 2" in reason
    assert photos(tmp_path / "classes" / "cat") == ([("cat.png", set())], None)
    (tmp_path / "classes" / "labels.csv").write_text("file,label\ncat/cat.png,dog\n")
    assert photos(tmp_path / "classes") == ([("cat.png", {1})], None)
    (tmp_path / "classes" / "labels.csv").write_text("file,label\ncat/cat.png,cow\n")
    with pytest.raises(UsageError, match="label 'cow'"):
        photos(tmp_path / "classes")
    with pytest.raises(UsageError, match="is no folder with photos"):
        photos(tmp_path / "none")
