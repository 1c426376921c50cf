"""Printing prediction results as text, JSON, JSON Lines or CSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

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


def make_printer(name: str) -> Printer:
    """The printer of a format in FORMATS."""
    printers: dict[str, Callable[[], Printer]] = {"text": _Text, "json": _Json, "jsonl": _JsonLines, "csv": _Csv}
    return printers[name]()


class _Text:
    def add(self, result: Result) -> None:
        lines = [result["source"]]
        if "error" in result:
            lines.append(f"    error: {result['error']}")
        elif not result["predictions"]:
            lines.append("    nothing above the threshold")
        lines += [f"  {100 * found['score']:5.1f} %  {found['label']}" for found in result.get("predictions", [])]
        sys.stdout.write("\n".join(lines) + "\n")

    def finish(self) -> None:
        pass


class _JsonLines:
    def add(self, result: Result) -> None:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")

    def finish(self) -> None:
        pass


class _Json:
    def __init__(self) -> None:
        self._results: list[Result] = []

    def add(self, result: Result) -> None:
        self._results.append(result)

    def finish(self) -> None:
        sys.stdout.write(json.dumps(self._results, ensure_ascii=False, indent=2) + "\n")


class _Csv:
    def __init__(self) -> None:
        import csv

        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(_CSV_COLUMNS)

    def add(self, result: Result) -> None:
        if "error" in result:
            self._writer.writerow([result["source"], "", "", "", "", result["error"]])
        for rank, found in enumerate(result.get("predictions", []), 1):
            self._writer.writerow([result["source"], rank, found["index"], found["label"], f"{found['score']:.6f}", ""])

    def finish(self) -> None:
        pass
