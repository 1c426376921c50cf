"""Class names: reading them from a file and finding them by name."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from edge_effnet.arguments import path_of
from edge_effnet.errors import UsageError
from edge_effnet.reading import read_file
from edge_effnet.text import MOST_CHARACTERS, printable

#: What stands for none of the classes.
UNKNOWN = "unknown"
_MOST_BYTES = 16 << 20
#: An index of at most six digits, and what parts it from its label.
_INDEXED = re.compile(r"([0-9]{1,6})(?:\s*[:,;]\s*|\s+)(\S.*)")

#: A class index; longer numbers are none.
_INDEX = re.compile("[0-9]{1,9}")
_UNFIT = re.compile("[\\x00\n\r]")


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """One label a line, UTF-8, the line's number (from 0) being the class index; blank lines at the end don't count.

    Where each line begins with a number, from 0 or 1 on, in any order, that is the class index and no part of the
    label ("3 cat", "1: dog", "2,fish"). Raises UsageError when the file is missing, larger than 16 MB, no regular
    file, empty, has a blank line in the middle or an index twice.
    """
    try:
        text = read_file(path_of(path, "labels"), most_bytes=_MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"can't read labels from {path}: {error}") from error
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines or not all(lines):
        where = f"line {lines.index('') + 1} is blank" if lines else "it is empty"
        raise UsageError(f"labels in {path}: {where}; expected one label a line")
    return tuple(_by_index(lines, str(path)))


def _by_index(lines: list[str], path: str) -> list[str]:
    """The labels in the order of the indices before them, or the lines as they are where these are no indices."""
    matches = [_INDEXED.fullmatch(line) for line in lines]
    found = [(int(match[1]), match[2]) for match in matches if match is not None]
    indices = [index for index, _ in found]
    if len(found) < len(lines) or len(lines) < 2 or max(indices) > len(lines):
        return lines
    first = min(indices)
    if sorted(indices) != list(range(first, first + len(lines))):
        twice = next((index for index, count in Counter(indices).items() if count > 1), None)
        what = f"the index {twice} stands twice" if twice is not None else f"the first index is {first}"
        raise UsageError(f"labels in {path}: {what}; expected each index from 0 or 1 on once before its label")
    return [label for _, label in sorted(found)]


def remarks_on_labels(labels: Sequence[str] | None) -> tuple[str, ...]:
    """A line on labels that stand for more than one class, which names alone can't tell apart; () for others."""
    twice = [(label, count) for label, count in Counter(labels or ()).items() if count > 1]
    if not twice:
        return ()
    shown = ", ".join(f"{printable(label, most=40)!r} ({count}×)" for label, count in twice[:3])
    return (f"labels that stand for several classes: {shown}{', …' if len(twice) > 3 else ''}",)


def check_label_count(labels: Sequence[str], num_classes: int, *, source: str) -> tuple[str, ...]:
    """The labels as a tuple; raises UsageError when there isn't one for each class, or one can't be shown."""
    if len(labels) != num_classes:
        hint = " (1,001 names often begin with a background class: remove it)" if len(labels) == num_classes + 1 else ""
        raise UsageError(f"{source} has {len(labels)} labels, the model {num_classes} classes; expected as many{hint}")
    for index, label in enumerate(labels):
        if (fault := label_fault(label)) is not None:
            raise UsageError(f"{source}: label {index} {fault}; expected one line of text")
    return tuple(labels)


def label_fault(label: object) -> str | None:
    """What keeps it from being a label; None for one line of text of at most 500 characters, without NUL."""
    if not isinstance(label, str):
        return f"is a {type(label).__name__}"
    if len(label) > MOST_CHARACTERS:
        return f"has {len(label):,} characters, more than {MOST_CHARACTERS}"
    return "holds a line's end or NUL" if _UNFIT.search(label) else None


def find_label_indices(names: Iterable[str], labels: Sequence[str]) -> frozenset[int]:
    """Class indices that the names (case doesn't matter) or numbers stand for; a label that stands twice gives both.

    Raises UsageError with the nearest labels for an unknown name.
    """
    folded = [label.casefold() for label in labels]
    found: set[int] = set()
    for name in names:
        matches = [index for index, label in enumerate(folded) if label == name.strip().casefold()]
        if not matches and _INDEX.fullmatch(name.strip()) and int(name) < len(labels):
            matches = [int(name)]
        if not matches:
            near = _nearest(name.strip().casefold(), folded)
            hint = f"; did you mean {', '.join(repr(labels[folded.index(label)]) for label in near)}?" if near else ""
            raise UsageError(f"label {name!r} is not among the model's {len(labels)}{hint}")
        found.update(matches)
    return frozenset(found)


def _nearest(name: str, labels: Sequence[str]) -> list[str]:
    """Up to three labels: those that hold the name as a word, shortest first, then those spelled alike."""
    import difflib

    holding = [label for label in labels if name in re.findall(r"\w+", label)] if name else []
    alike = difflib.get_close_matches(name, labels, n=3)
    return list(dict.fromkeys([*sorted(holding, key=len), *alike]))[:3]


def label_of(index: int, labels: Sequence[str] | None) -> str:
    """The label, or "class N" where the model has none."""
    return labels[index] if labels is not None else f"class {index}"
