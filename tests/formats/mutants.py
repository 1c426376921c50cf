"""Damaged copies of a file: each must read or give ModelFileError, never anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)


def survives(read: Callable[[bytes], Any], data: bytes) -> bool:
    """Whether the damaged file still reads; fails the test on any error but ModelFileError."""
    try:
        read(data)
    except ModelFileError as error:
        if len(str(error)) > 1000:
            pytest.fail(f"a message of {len(str(error))} characters")
        return False
    return True


def truncations(data: bytes, count: int) -> list[bytes]:
    return [
        data[:length]
        for length in sorted({*range(0, 64, 3), *np.linspace(1, len(data) - 1, count).astype(int).tolist()})
    ]


def mutations(data: bytes, count: int, *, seed: int, places: Sequence[int] | None = None) -> list[bytes]:
    """Flipped bits, extreme bytes and wild 32-bit numbers at random places (of `places`)."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        copy = bytearray(data)
        for _ in range(int(random.integers(1, 4))):
            at = int(random.integers(len(data)) if places is None else places[int(random.integers(len(places)))])
            if number % 3 == 0:
                copy[at] ^= 1 << int(random.integers(8))
            elif number % 3 == 1:
                copy[at] = _EXTREMES[int(random.integers(len(_EXTREMES)))]
            else:
                copy[at : at + 4] = int(random.integers(1 << 32)).to_bytes(4, "little")[: len(copy[at : at + 4])]
        made.append(bytes(copy))
    return made
