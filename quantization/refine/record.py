"""What refinement did, for the document and for people."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Refinement:
    """steps: done, of those planned. photos: learned from. held_out: judged by; 0 where there were too few to hold out.

    before_db, after_db: the logits' signal-to-noise ratio, simulated on the photos judged by. step: after which the
    network was best, 0 where it never got better. ended: "as planned", "by Ctrl-C" or "diverged".
    """

    planned: int
    steps: int
    photos: int
    held_out: int
    before_db: float
    after_db: float
    step: int
    ended: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the document."""
        return {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(self).items()}

    def sentence(self) -> str:
        """One line for the screen."""
        judged = f"{self.held_out} photos held out" if self.held_out else "the photos learned from"
        end = "" if self.ended == "as planned" else f"; ended {self.ended} after {self.steps} of {self.planned} steps"
        gained = f"logits {self.before_db:.1f} → {self.after_db:.1f} dB on {judged}"
        return f"refined: {gained if self.step else f'nothing gained on {judged}'}{end}"


def decibels(power: float, error: float) -> float:
    """10·log10(power / error); infinite without an error, and minus that where one of them is no number."""
    if not (math.isfinite(power) and math.isfinite(error)):
        return -math.inf
    if error == 0:
        return math.inf
    return 10 * math.log10(power / error) if power else -math.inf
