"""Prediction results as text, JSON, JSON Lines or CSV, to standard output or a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from edge_effnet.cli.console import LONGEST_LINE
from edge_effnet.text import csv_cell, json_text, printable

Result: TypeAlias = dict[str, Any]
#: Takes text made by `edge_effnet.text`.
Write: TypeAlias = Callable[[str], object]
FORMATS = ("text", "json", "jsonl", "csv")
#: Of each source: "ok", "unknown" (none of the labels), "none above" (the threshold), "uncertain" (its lead is below
#: --margin) or "error".
STATUSES = ("ok", "unknown", "none above", "uncertain", "error")
#: No name is one of a pandas.DataFrame's own ("index", "rank"), and whole numbers stay whole: rows without a class have
#: place 0 and class_id -1.
CSV_COLUMNS = ("source", "status", "place", "class_id", "label", "score", "error")


class Printer(Protocol):
    """Takes results one by one; `finish` ends the document."""

    def add(self, result: Result) -> None:
        """One source's result."""
        ...

    def finish(self) -> None:
        """After the last result."""
        ...


def make_printer(name: str, write: Write, *, cell: Callable[[object], str] = csv_cell) -> Printer:
    """The printer of a format in FORMATS. cell: how a text stands in CSV."""
    printers: dict[str, Callable[[], Printer]] = {
        "text": lambda: _Text(write),
        "json": lambda: _Json(write),
        "jsonl": lambda: _JsonLines(write),
        "csv": lambda: _Csv(write, cell),
    }
    return printers[name]()


class _Text:
    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, result: Result) -> None:
        self._line(printable(result["source"]))
        if result["status"] == "error":
            self._line(f"    error: {result['error']}")
        elif result["status"] == "none above":
            self._line("    nothing above the threshold")
        elif result["status"] == "uncertain":
            self._line(f"    uncertain: the lead is {100 * result['lead']:.1f} %")
        elif result["status"] == "unknown" and result.get("unknown", {}).get("is_unknown"):
            self._line(f"    unknown: {_measured(result['unknown'])}")
        for found in result.get("predictions", []):
            self._line(f"  {100 * found['score']:5.1f} %  {printable(found['label'])}")

    def finish(self) -> None:
        pass

    def _line(self, text: str) -> None:
        self._write(printable(text, most=LONGEST_LINE) + "\n")


def _measured(unknown: dict[str, Any]) -> str:
    what = "the best score" if unknown["measure"] == "scores" else unknown["measure"]
    return f"{what} is {unknown['value']:.3f}, below {unknown['threshold']:.3f}"


class _JsonLines:
    def __init__(self, write: Write) -> None:
        self._write = write

    def add(self, result: Result) -> None:
        self._write(json_text(result) + "\n")

    def finish(self) -> None:
        pass


class _Json:
    def __init__(self, write: Write) -> None:
        self._write = write
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)

    def finish(self) -> None:
        self._write(json_text(self._results, indent=2) + "\n")


class _Csv:
    def __init__(self, write: Write, cell: Callable[[object], str]) -> None:
        self._write = write
        self._cell = cell
        self._row(CSV_COLUMNS)

    def add(self, result: Result) -> None:
        start = (self._cell(result["source"]), result["status"])
        found = result.get("predictions", [])
        for place, one in enumerate(found, 1):
            self._row((*start, place, one["index"], self._cell(one["label"]), f"{one['score']:.6f}", ""))
        if not found:
            self._row((*start, 0, -1, "", "", self._cell(result.get("error", ""))))

    def finish(self) -> None:
        pass

    def _row(self, values: Sequence[object]) -> None:
        import csv

        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(values)
        self._write(row.getvalue())
