"""Class names: whether they fit a network, and finding them by name (reading them: label_files.py)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from edge_effnet.errors import UsageError
from edge_effnet.text import MOST_CHARACTERS, printable

#: What stands for none of the classes.
UNKNOWN = "unknown"
#: What the class before the first is called, in lists of 1,001 names for 1,000 classes.
_BACKGROUND = ("background", "__background__", "dummy", "???", "n/a")

#: A class index; longer numbers are none.
_INDEX = re.compile("[0-9]{1,9}")
_UNFIT = re.compile("[\\x00\n\r]")


def remarks_on_labels(labels: Sequence[str] | None) -> tuple[str, ...]:
    """A line on labels that stand for more than one class, which names alone can't tell apart; () for others."""
    twice = [(label, count) for label, count in Counter(labels or ()).items() if count > 1]
    if not twice:
        return ()
    shown = ", ".join(f"{printable(label, most=40)!r} ({count}×)" for label, count in twice[:3])
    return (f"labels that stand for several classes: {shown}{', …' if len(twice) > 3 else ''}",)


def without_background(labels: Sequence[str], num_classes: int) -> Sequence[str]:
    """The labels without a background class before the first, where that makes them as many as the classes."""
    extra = len(labels) == num_classes + 1 and num_classes > 1 and isinstance(labels[0], str)
    return labels[1:] if extra and labels[0].strip().casefold() in _BACKGROUND else labels


def check_label_count(labels: Sequence[str], num_classes: int, *, source: str) -> tuple[str, ...]:
    """The labels as a tuple, without a background class that is one too many; raises UsageError when there isn't one
    for each class, or one can't be shown.
    """
    labels = without_background(labels, num_classes)
    if len(labels) != num_classes:
        more = len(labels) == num_classes + 1
        hint = f" (is the first, {printable(str(labels[0]), most=40)!r}, a background class? remove it)" if more else ""
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
    if not (label.isascii() or _is_utf8(label)):
        return "holds bytes that aren't UTF-8"
    return "holds a line's end or NUL" if _UNFIT.search(label) else None


def _is_utf8(label: str) -> bool:
    """False for a name of bytes that mean nothing, as file systems may have."""
    try:
        label.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=4096)
def folded(label: str) -> str:
    """What labels are compared by: neither case, nor blanks around it, nor how an accent is written matters."""
    if not label.isascii():
        import unicodedata  # a library of a megabyte, for labels that need it

        label = unicodedata.normalize("NFC", label)
    return label.strip().casefold()


def find_label_indices(names: Iterable[str], labels: Sequence[str]) -> frozenset[int]:
    """Class indices that the names (case doesn't matter) or numbers stand for; a label that stands twice gives both.

    Raises UsageError with the nearest labels for an unknown name.
    """
    known = [folded(label) for label in labels]
    found: set[int] = set()
    for name in names:
        wanted = folded(name)
        matches = [index for index, label in enumerate(known) if label == wanted]
        if not matches and _INDEX.fullmatch(name.strip()) and int(name) < len(labels):
            matches = [int(name)]
        if not matches:
            near = _nearest(wanted, known)
            hint = f"; did you mean {', '.join(repr(labels[known.index(label)]) for label in near)}?" if near else ""
            raise UsageError(f"label {name!r} is not among the model's {len(labels)}{hint}")
        found.update(matches)
    return frozenset(found)


def indices_left(labels: Sequence[str], *, allow: Iterable[str] | None, deny: Iterable[str] | None) -> frozenset[int]:
    """Of all labels those that lists of labels allow and don't deny; None for no list. Raises UsageError for none."""
    allowed = find_label_indices(allow, labels) if allow is not None else frozenset(range(len(labels)))
    left = allowed - (find_label_indices(deny, labels) if deny is not None else frozenset())
    if not left:
        raise UsageError("the allow and deny lists leave no label; expected at least one")
    return left


def _nearest(name: str, labels: Sequence[str]) -> list[str]:
    """Up to three labels: those that hold the name as a word, shortest first, then those spelled alike."""
    import difflib

    holding = [label for label in labels if name in re.findall(r"\w+", label)] if name else []
    alike = difflib.get_close_matches(name, labels, n=3)
    return list(dict.fromkeys([*sorted(holding, key=len), *alike]))[:3]


def label_of(index: int, labels: Sequence[str] | None) -> str:
    """The label, or "class N" where the model has none."""
    return labels[index] if labels is not None else f"class {index}"
