"""Printing prediction results as text, JSON, JSON Lines or CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from edge_effnet.cli.console import say, write
from edge_effnet.text import csv_cell, json_text, printable

Result: TypeAlias = dict[str, Any]
FORMATS = ("text", "json", "jsonl", "csv")
_CSV_COLUMNS = ("source", "rank", "index", "label", "score", "error")


class Printer(Protocol):
    """Takes results one by one; `finish` ends the document."""

    def add(self, result: Result) -> None:
        """One source's result."""
        ...

    def finish(self) -> None:
        """After the last result."""
        ...


def make_printer(name: str, *, cell: Callable[[object], str] = csv_cell) -> Printer:
    """The printer of a format in FORMATS. cell: how a text stands in CSV."""
    printers: dict[str, Callable[[], Printer]] = {
        "text": _Text,
        "json": _Json,
        "jsonl": _JsonLines,
        "csv": lambda: _Csv(cell),
    }
    return printers[name]()


class _Text:
    def add(self, result: Result) -> None:
        say(printable(result["source"]))
        if "error" in result:
            say(f"    error: {result['error']}")
        elif not result["predictions"]:
            say("    nothing above the threshold")
        for found in result.get("predictions", []):
            say(f"  {100 * found['score']:5.1f} %  {printable(found['label'])}")

    def finish(self) -> None:
        pass


class _JsonLines:
    def add(self, result: Result) -> None:
        write(json_text(result) + "\n")

    def finish(self) -> None:
        pass


class _Json:
    def __init__(self) -> None:
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)

    def finish(self) -> None:
        write(json_text(self._results, indent=2) + "\n")


class _Csv:
    def __init__(self, cell: Callable[[object], str]) -> None:
        self._cell = cell
        self._row(_CSV_COLUMNS)

    def add(self, result: Result) -> None:
        source = self._cell(result["source"])
        if "error" in result:
            self._row([source, "", "", "", "", self._cell(result["error"])])
        for rank, found in enumerate(result.get("predictions", []), 1):
            self._row([source, rank, found["index"], self._cell(found["label"]), f"{found['score']:.6f}", ""])

    def finish(self) -> None:
        pass

    def _row(self, values: Sequence[object]) -> None:
        import csv

        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(values)
        write(row.getvalue())
