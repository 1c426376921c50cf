from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path

import pytest

import edge_effnet
from edge_effnet.errors import ImageError, SourceError, first_line
from edge_effnet.text import DEEPEST_JSON, MOST_CHARACTERS, csv_cell, json_text, parse_json, printable

_RUNTIME = Path(edge_effnet.__file__).parent
#: Half of a surrogate pair stands for a byte of a file name that isn't UTF-8.
_OBEYED = ("\0", "\x07", "\x1b]0;owned\x07", "\r", "\n", "\x7f", "\x85", "\x9b31m", "\u202e", "\u2066", "\u200f")
_HIDDEN = ("\u2028", "\u200b", "\ufeff", "\udcff", "\U000e0041")


@pytest.mark.parametrize("text", [*_OBEYED, *_HIDDEN])
def test_what_a_terminal_or_a_readers_eye_obeys_is_escaped(text: str) -> None:
    shown = printable(f"a{text}b")
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)
    assert (shown[0], shown[-1]) == ("a", "b")
    assert "\\" in shown


def test_honest_text_stays() -> None:
    honest = "Ägyptische Katze, 埃及猫, قطة, 👩‍🔬 C:\\photos"  # the emoji holds a zero-width joiner
    assert printable(honest) == honest


def test_a_long_text_loses_its_middle() -> None:
    shown = printable("begin" + 10_000_000 * "x" + "end")
    assert len(shown) == MOST_CHARACTERS
    assert shown.startswith("beginx")
    assert shown.endswith("xend")
    assert len(printable("\x1b" * 1000)) == MOST_CHARACTERS


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_a_cell_is_no_formula(start: str) -> None:
    assert csv_cell(start).startswith("'")
    assert csv_cell(f"a{start}")[0] == "a"


def test_json_keeps_every_character_in_escapes() -> None:
    value = {"label": "".join((*_OBEYED, *_HIDDEN)), "é": ["埃", 1, 2.5, None, True]}
    for indent in (None, 2):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text.replace("\n", ""))


def test_json_has_no_nan() -> None:
    value = {"a": [float("nan"), (float("inf"), 1.0)], "b": "NaN"}
    assert json.loads(json_text(value)) == {"a": [None, [None, 1.0]], "b": "NaN"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "beyond what a float64 holds"),
        (200_000 * "[", "within each other"),
        ((DEEPEST_JSON + 1) * "[" + (DEEPEST_JSON + 1) * "]", "within each other"),
        ("1" * 5000, "."),
        (b'{"a": "\xff"}', "utf-8"),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert len(str(caught.value)) <= 200


def test_depth_up_to_the_bound_is_read() -> None:
    assert parse_json(DEEPEST_JSON * "[" + DEEPEST_JSON * "]")


def test_errors_are_printable_as_text() -> None:
    hostile = "a\x1b[31m\u202e" + 1000 * "x"
    for error in (ImageError(f"{hostile}: broken"), SourceError(hostile)):
        assert str(error).startswith("a\\x1b[31m\\u202e")
        assert len(str(error)) <= MOST_CHARACTERS
    assert first_line(RuntimeError("a\x1bb\nc")) == "a\\x1bb"


def _calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_there_is_no_other_way_out() -> None:
    """Nothing of the runtime prints, writes or reads JSON beside this module; the exceptions talk to no stranger."""
    own = {
        "json.dumps": {"text.py", "metadata.py", "trial.py", "benching/workers.py", "benching/serving.py"},
        "json.loads": {"text.py", "trial.py", "benching/workers.py", "benching/serving.py", "live/sinks/file.py"},
        "print": {"trial.py"},
        "sys.stdout.write": {"cli/console.py"},
        "sys.stderr.write": {"cli/progress.py"},
    }
    found = {path.relative_to(_RUNTIME).as_posix(): _calls(ast.parse(path.read_text())) for path in _files()}
    for call, allowed in own.items():
        assert {name for name, calls in found.items() if call in calls} <= allowed, call


def _files() -> list[Path]:
    """The runtime's own; what exports or benchmarks may lie below it where it's installed."""
    others = ("exporters", "quantization", "benchmarks")
    return [path for path in _RUNTIME.rglob("*.py") if path.relative_to(_RUNTIME).parts[0] not in others]
