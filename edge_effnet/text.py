"""The one way out for text that isn't ours: labels, file names, documents, tensor names, other libraries' messages.

Such text may carry a terminal's control sequences, characters that turn the reading direction, a spreadsheet's
formulas, or a hundred megabytes. What is shown on a terminal, written to a log or put into a table goes through here;
JSON keeps every character, those as \\u escapes.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

#: Characters of one foreign text that are shown.
MOST_CHARACTERS = 500
#: Lists and objects within each other that a JSON document may hold.
DEEPEST_JSON = 100
#: C0, DEL and C1; marks, embeddings, overrides and isolates of reading direction; separators of lines and paragraphs;
#: invisible characters but the two that join letters and emoji; half of a surrogate pair, as names that aren't UTF-8
#: have; tags (Unicode 15, general categories Cc, Cf, Zl, Zp, Cs; "Trojan Source", CVE-2021-42574).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"), full-width forms included.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


def printable(text: object, *, most: int = MOST_CHARACTERS) -> str:
    """The text on one line, without any character that a terminal or a reader's eye obeys.

    Such characters become escapes like \\x1b and \\u202e. What is longer than `most` characters loses its middle.
    """
    return _shortened(_UNSAFE.sub(_escape, _shortened(str(text), most)), most)


def csv_cell(text: object) -> str:
    """`printable`, and with a ' before what a spreadsheet would take for a formula."""
    shown = printable(text)
    return f"'{shown}" if str(text)[:1].startswith(_FORMULA_STARTS) else shown


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON of plain values: no control character outside of escapes, and null for NaN and infinity.

    All other text stands as it is, in full: what reads JSON gets every character.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(_json_escape, text)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document. Raises ValueError, with the reason on one line, for what isn't strict JSON in
    UTF-8, for numbers that no float64 holds, and for more than 100 lists and objects within each other.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_float)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        raise ValueError(printable(error, most=200)) from error
    _check_depth(value)
    return value


_TOO_DEEP = f"more than {DEEPEST_JSON} lists or objects within each other"


def _shortened(text: str, most: int) -> str:
    """The beginning and the end, where what was found and what to do stand."""
    if len(text) <= most:
        return text
    tail = most * 2 // 5
    return f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"


def _escape(match: re.Match[str]) -> str:
    character, code = match[0], ord(match[0])
    if code < 0x100:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    """Line ends between values, from an indent, stay: inside of texts JSON has escaped them."""
    if match[0] == "\n":
        return "\n"
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {printable(text, most=40)} is beyond what a float64 holds")
    return value


def _check_depth(value: Any) -> None:
    level = _holders([value])
    for _ in range(DEEPEST_JSON):
        level = [inner for holder in level for inner in _holders(holder)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _holders(holder: dict[str, Any] | list[Any]) -> list[Any]:
    """The lists and objects right within one."""
    items = holder.values() if isinstance(holder, dict) else holder
    return [item for item in items if isinstance(item, (dict, list))]
