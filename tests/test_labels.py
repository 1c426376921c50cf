from __future__ import annotations

from pathlib import Path

import pytest

from edge_effnet.errors import UsageError
from edge_effnet.labels import (
    check_label_count,
    find_label_indices,
    label_of,
    read_labels,
    remarks_on_labels,
)

LABELS = ("tabby", "tiger cat", "Crane", "crane", "7")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb\n", ("a", "b")),
        (b"a\r\nb", ("a", "b")),
        (b"\xef\xbb\xbfK\xc3\xb6ln\nb\n\n\n", ("Köln", "b")),
        (b"  a, with comma \nb\t\n", ("a, with comma", "b")),
        (b"2 cat\n0 dog\n1  big fish", ("dog", "big fish", "cat")),
        (b"3: cat\n1: dog\n2:fish", ("dog", "fish", "cat")),
        (b"1,cat\n0,dog", ("dog", "cat")),
        (b"4 wheels\n2 wheels", ("4 wheels", "2 wheels")),
        (b"0 cat\ndog", ("0 cat", "dog")),
    ],
)
def test_reading(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_labels(tmp_path / "labels.txt") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; expected one label a line"),
        (b"\n \n", "it is empty"),
        (b"a\n\nb\n", "line 2 is blank"),
        (b"0 cat\n1 dog\n1 fish", "the index 1 stands twice; expected each index from 0 or 1 on once before its label"),
        (b"\xff\xfe\xfa", "can't read labels from .*codec"),
    ],
)
def test_unreadable(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_labels(tmp_path / "labels.txt")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UsageError, match="can't read labels from"):
            read_labels(path)


def test_as_many_labels_as_classes() -> None:
    assert check_label_count(["a", "b"], 2, source="x") == ("a", "b")
    with pytest.raises(UsageError, match=r"x has 1 labels, the model 2 classes; expected as many$"):
        check_label_count(["a"], 2, source="x")
    with pytest.raises(UsageError, match="1,001 names often begin with a background class: remove it"):
        check_label_count(["background", "a", "b"], 2, source="x")


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


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_labels_that_never_end(path: str) -> None:
    with pytest.raises(UsageError, match=r"can't read labels from .*: (not a regular file|a folder)"):
        read_labels(path)


def test_labels_that_are_too_many(tmp_path: Path) -> None:
    with open(tmp_path / "labels.txt", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"1,099,511,627,776 bytes; at most 16,777,216 are read"):
        read_labels(tmp_path / "labels.txt")


def test_labels_that_stand_twice() -> None:
    assert remarks_on_labels(["a", "b"]) == remarks_on_labels(None) == ()
    assert remarks_on_labels(["crane", "b", "crane"]) == ("labels that stand for several classes: 'crane' (2×)",)
