"""The networks that were learned, and which of them is in use: after a restart, too."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.files import write_atomically
from edge_effnet.text import json_text, parse_json

_NAME = re.compile(r"learned-(\d{4,9})\.(?:tflite|onnx)")
_IN_USE = "in-use.json"
#: Learned files that are kept besides the one in use.
_KEPT = 5


class Networks:
    """Files `learned-0001.tflite` (or `.onnx`), … in a folder, each with what was measured of it, and which is in use.

    Raises OutputError for a folder that can't be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"can't use the folder {folder}: {error.strerror or error}") from error

    def names(self) -> list[str]:
        """Oldest first."""
        return sorted((path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name)), key=_number)

    def next_path(self, ending: str) -> Path:
        """Where the next one goes. ending: ".tflite" or ".onnx", as the base's."""
        names = self.names()
        return self.folder / f"learned-{_number(names[-1]) + 1 if names else 1:04}{ending}"

    def record(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Keeps what was measured of a network; only the last five stay, and the one in use."""
        write_atomically(path.with_suffix(".json"), json_text(dict(facts), indent=1).encode())
        in_use = self.in_use()
        for name in self.names()[:-_KEPT]:
            if name != in_use:
                (self.folder / name).unlink(missing_ok=True)
                (self.folder / name).with_suffix(".json").unlink(missing_ok=True)

    def facts(self, name: str | None) -> dict[str, Any]:
        """What was recorded of it."""
        return {} if name is None else _read(self.path(name).with_suffix(".json"))

    def in_use(self) -> str | None:
        """The one to start with; None for the base."""
        name = _read(self.folder / _IN_USE).get("file")
        return name if isinstance(name, str) and _NAME.fullmatch(name) and (self.folder / name).is_file() else None

    def use(self, name: str | None) -> None:
        """From the next start on, too."""
        write_atomically(self.folder / _IN_USE, json_text({"file": name}).encode() + b"\n")

    def path(self, name: object) -> Path:
        """Raises UsageError when there is none of that name."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not (self.folder / name).is_file():
            raise UsageError("there is no such network any more")
        return self.folder / name


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = parse_json(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}
