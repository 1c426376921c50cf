"""Addresses (https://…) given where files are wanted: nothing is fetched from the network, and that is said."""

from __future__ import annotations

import os
import re

from edge_effnet.errors import UsageError

_ADDRESS = re.compile(r"(https?|ftps?|file|s3|gs)://", re.IGNORECASE)


def is_address(name: object) -> bool:
    """Whether a text is an address and no path."""
    return isinstance(name, str) and _ADDRESS.match(name) is not None


def refuse_address(name: str | os.PathLike[str]) -> None:
    """Raises UsageError for https://… and the like."""
    if is_address(name):
        raise UsageError(f"{name}: addresses aren't read; download the file first (curl -O), and name it")
