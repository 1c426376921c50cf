"""What spoils a measurement: a governor that lowers the clock, heat, a weak power supply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_effnet.machine import frequency_mhz, temperature_c, throttled, throttling_words
from edge_effnet.system import load_average

#: Load average of the last minute above which other programs were running.
_IDLE = 0.5
#: The clock counts as lowered when it falls below this share of its highest reading.
_STEADY = 0.9


class Watch:
    """Reads clock and temperature between measurements, and at the start and the end whether the board throttles."""

    def __init__(self) -> None:
        self._frequencies: list[float] = []
        self._temperatures: list[float] = []
        self._throttled_before = throttled()
        self._load = load_average()
        self.look()

    def look(self) -> None:
        """One reading; costs a few file reads."""
        for found, values in ((frequency_mhz(), self._frequencies), (temperature_c(), self._temperatures)):
            if found is not None:
                values.append(found)

    def facts(self) -> dict[str, Any]:
        """Lowest and highest readings, throttling before and after, programs that ran before; None where unknown."""
        return {
            "frequency_mhz": _ends(self._frequencies),
            "temperature_c": _ends(self._temperatures),
            "throttled": [self._throttled_before, throttled()],
            "load_before": self._load,
        }


def _ends(values: list[float]) -> list[float] | None:
    return [min(values), max(values)] if values else None


def spoilers(facts: Mapping[str, Any], during: Mapping[str, Any]) -> list[str]:
    """Why the figures may not be the machine's best, one sentence each. facts: of `machine_facts`; during: of a
    Watch.
    """
    found = []
    governor = facts["governor"]
    if governor not in (None, "performance"):
        found.append(
            f"the CPU governor is {governor}, so the clock changes with the load; for figures that repeat: sudo "
            "cpupower frequency-set -g performance"
        )
    before, after = during["throttled"]
    words = throttling_words(after)
    if words:
        when = "since the board started" if before == after else "during this run"
        found.append(f"the board reports {', '.join(words)} ({after}, {when}); check the power supply and the cooling")
    frequencies = during["frequency_mhz"]
    if frequencies is not None and frequencies[0] < _STEADY * frequencies[1]:
        found.append(f"the clock fell from {frequencies[1]:.0f} to {frequencies[0]:.0f} MHz during the run")
    load = during["load_before"]
    if load is not None and load > _IDLE:
        found.append(f"other programs were running in the minute before (load {load:.1f}); let them finish first")
    return found
