from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from edge_effnet.cli import main

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def called(*words: Any) -> Outcome:
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:
            status = int(str(end.code or 0))
        return Outcome(status, *capsys.readouterr())

    return called


def is_one_error(outcome: Outcome, text: str) -> bool:
    """Status 2, nothing on stdout, one line on stderr that holds `text`."""
    return (
        outcome.status == 2
        and not outcome.out
        and outcome.err.count("\n") == 1
        and outcome.err.startswith("edge-effnet: error: ")
        and text in outcome.err
    )
