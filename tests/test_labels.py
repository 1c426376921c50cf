from __future__ import annotations

import pytest

from edge_effnet.errors import UsageError
from edge_effnet.labels import check_label_count, find_label_indices, label_of, remarks_on_labels

LABELS = ("tabby", "tiger cat", "Crane", "crane", "7")


def test_as_many_labels_as_classes() -> None:
    assert check_label_count(["a", "b"], 2, source="x") == ("a", "b")
    with pytest.raises(UsageError, match=r"x has 1 labels, the model 2 classes; expected as many$"):
        check_label_count(["a"], 2, source="x")
    assert check_label_count(["Background", "a", "b"], 2, source="x") == ("a", "b")
    with pytest.raises(UsageError, match=r"expected as many \(is the first, 'none', a background class\? remove it\)"):
        check_label_count(["none", "a", "b"], 2, source="x")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tabby"], {0}),
        (["TABBY", " tiger cat "], {0, 1}),
        (["crane"], {2, 3}),
        (["1"], {1}),
        (["7"], {4}),
        ([], set()),
    ],
)
def test_finding(names: list[str], expected: set[int]) -> None:
    assert find_label_indices(names, LABELS) == expected


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"label 'taby' is not among the model's 5; did you mean 'tabby'\?"):
        find_label_indices(["taby"], LABELS)
    for name in ("99", "-1", "²", "xyzzy", ""):
        with pytest.raises(UsageError, match=r"is not among the model's 5$"):
            find_label_indices([name], LABELS)


def test_names_of_classes() -> None:
    assert label_of(1, LABELS) == "tiger cat"
    assert label_of(1, None) == "class 1"


def test_labels_that_stand_twice() -> None:
    assert remarks_on_labels(["a", "b"]) == remarks_on_labels(None) == ()
    assert remarks_on_labels(["crane", "b", "crane"]) == ("labels that stand for several classes: 'crane' (2×)",)
