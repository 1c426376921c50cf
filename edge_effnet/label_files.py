"""Files of class names as people have them: lines, numbered lines, CSV, and JSON lists and objects."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from edge_effnet.arguments import path_of
from edge_effnet.errors import UsageError
from edge_effnet.reading import read_file
from edge_effnet.text import parse_json

_MOST_BYTES = 16 << 20
#: An index of at most six digits, and what parts it from its label.
_INDEXED = re.compile(r"([0-9]{1,6})(?:\s*[:,;=]\s*|[.)]?\s+)(\S.*)")
#: Words that a table's first row consists of.
_HEADINGS = re.compile(
    r"(class|label|category|index|idx|id|name|title|synset|wnid)s?([_ -]?(class|label|index|idx|id|name|no|number))?",
    re.IGNORECASE,
)
#: Keys of an object that holds the labels among other things.
_KEYS = ("labels", "id2label", "class_names", "classes", "names", "label_names", "categories", "idx_to_class")
_TO_INDEX = ("class_to_idx", "label2id", "class_indices")
#: What the first line of other forms looks like, where the file's ending doesn't say.
_FIRST_LINES = {
    "protobuf text": re.compile(r"item\s*\{.*"),
    "YAML": re.compile(rf"%YAML.*|---|(?:{'|'.join(_KEYS)})\s*:\s*(?:\[.*)?"),
}
_ENDINGS = {".yaml": "YAML", ".yml": "YAML", ".pbtxt": "protobuf text"}
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The labels of a file, UTF-8 or UTF-16, in class order.

    One a line, the line's number (from 0) being the class index; blank lines at the end don't count. Where each line
    begins with a number, from 0 or 1 on, in any order, that is the class index and no part of the label ("3 cat",
    "1: dog", "2,fish", "0. ant"). CSV: one column, or an index and a label, with or without a row of headings. JSON: a
    list, an object index → label or label → index, or one that has such under "labels", "id2label", "class_to_idx" and
    the like.
    Raises UsageError when the file is missing, larger than 16 MB, no regular file, empty, YAML or protobuf text, has a
    blank line in the middle or an index twice.
    """
    try:
        data = read_file(path_of(path, "labels"), most_bytes=_MOST_BYTES)
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8-sig")
        text = data.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read labels from {path}: {error}") from error
    if text.lstrip()[:1] in ("[", "{"):
        found = _of_json(text, str(path))
        if found is not None:
            return found
    lines = [line.strip() for line in text.rstrip().splitlines()]
    _check_form(lines, str(path))
    if not lines or not all(lines):
        where = f"line {lines.index('') + 1} is blank" if lines else "it is empty"
        raise UsageError(f"labels in {path}: {where}; expected one label a line")
    return tuple(_of_table(text) or _by_index(lines, str(path)))


def _check_form(lines: Sequence[str], path: str) -> None:
    """Raises UsageError for a form whose lines are no labels."""
    first = next((line for line in lines if line and not line.startswith("#")), "")
    written = next((form for form, pattern in _FIRST_LINES.items() if pattern.fullmatch(first)), None)
    form = written or next((form for ending, form in _ENDINGS.items() if path.lower().endswith(ending)), None)
    if form is not None:
        raise UsageError(
            f"labels in {path}: {form}, which isn't read; expected one label a line, CSV or JSON: copy the names into "
            "a text file, in class order"
        )


def _of_table(text: str) -> list[str] | None:
    """The labels of a CSV with quotes or headings; None for plain lines, whose commas may be the labels' own."""
    if '"' not in text and not _is_heading(text.split("\n", 1)[0].strip().split(",")):
        return None
    import csv  # where labels lie in a table: a cold start has no use for it

    try:
        rows = [
            [cell.strip() for cell in row]
            for row in csv.reader(text.splitlines(), strict=True, skipinitialspace=True)
            if row
        ]
    except csv.Error:
        return None
    headed = _is_heading(rows[0])
    rows = rows[1:] if headed else rows
    width = {len(row) for row in rows}
    if width == {1} and not headed:
        return [row[0] for row in rows]
    if width != {2}:
        return None
    for number in range(2):
        if all(row[number].isdecimal() and len(row[number]) <= 6 for row in rows):
            return _ordered([(int(row[number]), row[1 - number]) for row in rows])
    return None


def _is_heading(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and all(_HEADINGS.fullmatch(cell.strip().strip('"')) for cell in cells)


def _ordered(pairs: Sequence[tuple[int, str]]) -> list[str] | None:
    """In the order of indices from 0 or 1 on, each once; None otherwise."""
    first = min((index for index, _ in pairs), default=0)
    whole = first <= 1 and sorted(index for index, _ in pairs) == list(range(first, first + len(pairs)))
    return [label for _, label in sorted(pairs)] if whole else None


def _by_index(lines: list[str], path: str) -> list[str]:
    """The labels in the order of the indices before them, or the lines as they are where these are no indices."""
    matches = [_INDEXED.fullmatch(line) for line in lines]
    found = [(int(match[1]), match[2]) for match in matches if match is not None]
    indices = [index for index, _ in found]
    if len(found) < len(lines) or len(lines) < 2 or max(indices) > len(lines):
        return lines
    ordered = _ordered(found)
    if ordered is None:
        twice = next((index for index, count in Counter(indices).items() if count > 1), None)
        what = f"the index {twice} stands twice" if twice is not None else f"the first index is {min(indices)}"
        raise UsageError(f"labels in {path}: {what}; expected each index from 0 or 1 on once before its label")
    return ordered


def _of_json(text: str, path: str) -> tuple[str, ...] | None:
    """The labels of a JSON document; None where it is none. Raises UsageError for one without labels in it."""
    try:
        content = parse_json(text)
    except ValueError:
        return None
    found = _of_value(content)
    if found is None:
        raise UsageError(
            f"labels in {path}: JSON without labels in class order; expected a list of names, or an object of indices "
            "from 0 or 1 on and names"
        )
    return tuple(found)


def _of_value(content: Any) -> list[str] | None:
    if isinstance(content, list):
        return _of_list(content)
    if not isinstance(content, Mapping):
        return None
    for key in (*_KEYS, *_TO_INDEX):
        inner = content.get(key)
        if isinstance(inner, list | Mapping):
            return (
                _of_pairs([(value, name) for name, value in inner.items()])
                if key in _TO_INDEX and isinstance(inner, Mapping)
                else _of_value(inner)
            )
    return _of_pairs(list(content.items())) or _of_pairs([(index, name) for name, index in content.items()])


def _of_list(items: list[Any]) -> list[str] | None:
    """Names, or objects of an id and a name."""
    if items and all(isinstance(item, str) for item in items):
        return list(items)
    named = [(item.get("id", place), item.get("name")) for place, item in enumerate(items) if isinstance(item, Mapping)]
    return _of_pairs(named) if len(named) == len(items) else None


def _of_pairs(pairs: Sequence[tuple[Any, Any]]) -> list[str] | None:
    """From (index, name); a name may be a list that ends in it, as Keras' ["n01440764", "tench"] does."""
    found = []
    for index, name in pairs:
        name = name[-1] if isinstance(name, list) and name else name
        if not isinstance(name, str) or not str(index).isdecimal() or len(str(index)) > 6:
            return None
        found.append((int(index), name))
    return _ordered(found) if found else None
