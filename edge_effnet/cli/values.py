"""What argparse makes of an option's text."""

from __future__ import annotations

import argparse

from edge_effnet.preprocessing import INTERPOLATIONS, Triple, triple

#: Of all resizers, each once.
INTERPOLATION_NAMES = tuple(dict.fromkeys(name for names in INTERPOLATIONS.values() for name in names))
_MOST_DIGITS = 10


def positive(text: str) -> int:
    """A whole number of at least 1, and at most a billion, for argparse."""
    value = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r:.40} is not a whole number of at least 1 (at most {_MOST_DIGITS} digits)"
        )
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def three(text: str) -> Triple:
    """Three numbers split by commas (one stands for all three), for argparse."""
    parts = text.split(",")
    try:
        return triple(parts * 3 if len(parts) == 1 else parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers like 0.485,0.456,0.406") from error


def image_size(text: str) -> tuple[int, int]:
    """(height, width) of "224" or "192x256", for argparse."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    return positive(height), positive(width or height)


def colour(text: str) -> tuple[int, int, int]:
    """Three whole numbers from 0 to 255 split by commas, for argparse."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not a colour like 114,114,114")
    red, green, blue = map(int, parts)
    return red, green, blue


def fractions(text: str) -> tuple[float, ...]:
    """Numbers from 0 to 1 split by commas, for argparse."""
    return tuple(fraction(part) for part in text.split(","))


def names(text: str) -> list[str]:
    """Labels split by commas, for argparse."""
    return [name.strip() for name in text.split(",") if name.strip()]
