"""Checks of what callers pass: the type that is expected, or a UsageError that names the argument."""

from __future__ import annotations

import numbers
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from edge_effnet.errors import UsageError
from edge_effnet.text import printable

T = TypeVar("T")


def integer(value: Any, name: str) -> int:
    """The value as an int; numpy's whole numbers, too. Raises UsageError."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise UsageError(f"{name} is {_shown(value)}; expected a whole number")
    return number


def whole_number(value: Any, name: str, *, least: int) -> int:
    """The value as an int of at least `least`. Raises UsageError."""
    number = integer(value, name)
    if number < least:
        raise UsageError(f"{name} is {_shown(number)}; expected at least {least}")
    return number


def _is_real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def fraction(value: Any, name: str) -> float:
    """The value as a float of 0 to 1. Raises UsageError."""
    number = float(value) if _is_real(value) else -1.0
    if not 0.0 <= number <= 1.0:
        raise UsageError(f"{name} is {_shown(value)}; expected 0 to 1")
    return number


def real_numbers(name: str, *values: Any) -> None:
    """Raises UsageError unless all are real numbers, NaN and infinity included."""
    for value in values:
        if not _is_real(value):
            raise UsageError(f"{name}: {_shown(value)}; expected a number")


def texts(value: Any, name: str) -> tuple[str, ...]:
    """A list of texts as a tuple; one text alone is none. Raises UsageError."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise UsageError(f"{name} is {_shown(value)}; expected a list of texts")
    found = tuple(value)
    for item in found:
        if not isinstance(item, str):
            raise UsageError(f"{name} holds {_shown(item)}; expected texts")
    return found


def one_of(value: Any, kind: type[T], name: str) -> T:
    """The value, if it is of this type. Raises UsageError."""
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {_shown(value)}; expected a {kind.__name__}")
    return value


def path_of(value: Any, name: str) -> Path:
    """The value as a path. Raises UsageError for what is none; "" would be the working directory."""
    if not isinstance(value, (str, os.PathLike)) or os.fspath(value) == "" or isinstance(os.fspath(value), bytes):
        raise UsageError(f"{name} is {_shown(value)}; expected a path")
    return Path(value)


def _shown(value: Any) -> str:
    """What stands in the message; a value whose own text fails by its type."""
    try:
        return printable(repr(value) if isinstance(value, (str, bytes)) else str(value), most=60)
    except Exception:
        return f"a {type(value).__name__}"
