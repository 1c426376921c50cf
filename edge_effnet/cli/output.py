"""Printing prediction results as text, JSON, JSON Lines or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TextIO, TypeAlias

Result: TypeAlias = dict[str, Any]
FORMATS = ("text", "json", "jsonl", "csv")
#: Of each source: "ok", "none above" (the threshold), "uncertain" (its lead is below --margin) or "error".
STATUSES = ("ok", "none above", "uncertain", "error")
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


def make_printer(name: str, stream: TextIO) -> Printer:
    """The printer of a format in FORMATS."""
    printers: dict[str, Callable[[TextIO], Printer]] = {
        "text": _Text,
        "json": _Json,
        "jsonl": _JsonLines,
        "csv": _Csv,
    }
    return printers[name](stream)


class _Text:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def add(self, result: Result) -> None:
        lines = [result["source"]]
        if result["status"] == "error":
            lines.append(f"    error: {result['error']}")
        elif result["status"] == "none above":
            lines.append("    nothing above the threshold")
        elif result["status"] == "uncertain":
            lines.append(f"    uncertain: the lead is {100 * result['lead']:.1f} %")
        lines += [f"  {100 * found['score']:5.1f} %  {found['label']}" for found in result.get("predictions", [])]
        self._stream.write("\n".join(lines) + "\n")

    def finish(self) -> None:
        pass


class _JsonLines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def add(self, result: Result) -> None:
        self._stream.write(json.dumps(result, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        pass


class _Json:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)

    def finish(self) -> None:
        self._stream.write(json.dumps(self._results, ensure_ascii=False, indent=2) + "\n")


class _Csv:
    def __init__(self, stream: TextIO) -> None:
        import csv

        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def add(self, result: Result) -> None:
        source, status = result["source"], result["status"]
        found = result.get("predictions", [])
        for place, one in enumerate(found, 1):
            self._writer.writerow([source, status, place, one["index"], one["label"], f"{one['score']:.6f}", ""])
        if not found:
            self._writer.writerow([source, status, 0, -1, "", "", result.get("error", "")])

    def finish(self) -> None:
        pass
