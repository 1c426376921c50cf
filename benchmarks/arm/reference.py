"""Stored counts, and what differs from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from edge_effnet.errors import UsageError
from edge_effnet.files import write_atomically

#: Board → program → region → instructions.
Counts: TypeAlias = Mapping[str, Mapping[str, Mapping[str, int]]]
#: A count may differ this much, up or down: fewer instructions are news as well.
TOLERANCE_PERCENT = 0.5


def read_reference(path: Path) -> dict[str, Any]:
    """The stored results; empty where there are none yet. Raises UsageError for a file that isn't JSON."""
    if not path.exists():
        return {"counts": {}}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error})") from error
    return {"counts": {}, **found}


def write_reference(path: Path, results: Mapping[str, Any]) -> None:
    """Writes the results, boards and programs in order."""
    write_atomically(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def differences(expected: Counts, found: Counts) -> list[str]:
    """One line for each region outside the tolerance, or without a stored count."""
    lines = []
    for board, programs in found.items():
        for program, measured in programs.items():
            stored = expected.get(board, {}).get(program, {})
            lines += [
                f"{board}, {program}, {region}: {text}"
                for region in measured
                if (text := _difference(stored.get(region), measured[region]))
            ]
            lines += [
                f"{board}, {program}, {region}: stored, but no longer measured"
                for region in stored
                if region not in measured
            ]
    return lines


def _difference(stored: int | None, measured: int) -> str | None:
    if stored is None:
        return f"{millions(measured)} M instructions, nothing stored"
    percent = 100 * (measured / stored - 1)
    if abs(percent) <= TOLERANCE_PERCENT:
        return None
    return (
        f"{millions(stored)} M → {millions(measured)} M instructions ({percent:+.1f} %, allowed ±{TOLERANCE_PERCENT} %)"
    )


def millions(instructions: int) -> str:
    """As people read it: "78.9"."""
    return f"{instructions / 1e6:,.2f}"
