"""What not every operating system has, behind functions that every one has."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores this process may use, at least 1: of its affinity where the system has one, of the machine elsewhere."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
