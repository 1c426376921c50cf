from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from edge_effnet.decoding import DEFAULT_RULES
from edge_effnet.learning.learn import Learned
from edge_effnet.learning.report import report_page


def learned(labels: tuple[str, ...], confusion: np.ndarray, *, left_out: tuple[str, ...] = ()) -> Learned:
    table = tuple(tuple(row) for row in confusion.tolist())
    return Learned(
        path=Path("mine.tflite"),
        labels=labels,
        photos=dict(zip(labels, confusion.sum(axis=1).tolist(), strict=True)),
        accuracy=0.5,
        interval=(0.4, 0.6),
        confusion=table,
        threshold=None,
        doubtful=(),
        wants={},
        kept=0,
        base="base",
        penalty=0.1,
        sha256="0",
        photos_sha256="0",
        left_out=left_out,
    )


class _Cells(HTMLParser):
    """Every row of the document's tables as its cells' texts."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.lasttag in ("td", "th"):
            self.rows[-1][-1] += data.strip()


def rows_of(found: Learned) -> list[list[str]]:
    return _Cells(report_page(found, image_rules=DEFAULT_RULES)).rows


def test_few_classes_are_a_matrix() -> None:
    found = learned(("cat", "<b>&\"'"), np.array([[3, 1], [0, 0]]))
    assert rows_of(found) == [["", "cat", "<b>&\"'"], ["cat", "3", "1"], ["<b>&\"'", "·", "0"]]


def test_many_classes_are_a_row_each_with_most_errors_first() -> None:
    confusion = np.diag([4] * 30)
    confusion[7] = 0
    confusion[7, [1, 2, 3, 4, 5, 6]] = [1, 1, 3, 1, 1, 1]
    confusion[9, :] = 0
    confusion[9, [9, 2]] = [3, 1]
    labels = tuple(f"c{place:02}" for place in range(30))
    rows = rows_of(learned(labels, confusion))
    assert len(rows) == 31
    assert rows[1] == ["c07", "0 of 8", "c03 (3), c01 (1), c02 (1), c04 (1), …"]
    assert rows[2:4] == [["c09", "3 of 4", "c02 (1)"], ["c00", "4 of 4", ""]]


def test_names_are_text_wherever_they_stand() -> None:
    found = learned(("\x1b[31mred", "<script>"), np.array([[2, 1], [1, 4]]), left_out=("<b>\x07.jpg: broken",))
    page = report_page(found, image_rules=DEFAULT_RULES)
    assert "\x1b" not in page
    assert "\x07" not in page
    assert "<script" not in page
    assert "fewest of \\x1b[31mred: 3" in page
    assert "&lt;b&gt;\\x07.jpg: broken" in page
