"""The house rules that can be counted: short functions, short files, lines that fit."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("edge_effnet", "exporters", "quantization") for path in (ROOT / folder).rglob("*.py")
)
MEDIAN_FUNCTION, LONGEST_FUNCTION, LONGEST_FILE, LONGEST_LINE = 7, 60, 300, 120
#: Markup, which reads worse broken up; the same files stand in ruff's ignores.
WIDE_FILES = {"quantization/report/page.py", "edge_effnet/page_style.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions() -> dict[str, int]:
    """Place of each function → its lines, signature and docstring counted."""
    return {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def test_functions_are_short() -> None:
    found = functions()
    assert len(found) > 2000
    assert {place: lines for place, lines in found.items() if lines > LONGEST_FUNCTION} == {}
    assert median(found.values()) <= MEDIAN_FUNCTION


def test_files_are_short() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_lines_fit(path: Path) -> None:
    wide = [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > LONGEST_LINE]
    assert bool(wide) == (name_of(path) in WIDE_FILES), f"lines {wide} are longer than {LONGEST_LINE} characters"
