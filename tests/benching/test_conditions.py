"""What is said of a machine that spoils figures, with made-up /sys trees."""

from __future__ import annotations

from typing import Any

import pytest

from edge_effnet import machine
from edge_effnet.benching import conditions
from edge_effnet.benching.conditions import Watch, spoilers

CLOCK = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
HEAT = "/sys/class/thermal/thermal_zone0/temp"
CALM = {
    "frequency_mhz": [2400.0, 2400.0],
    "temperature_c": [50.0, 60.0],
    "throttled": ["0x0", "0x0"],
    "load_before": 0.1,
}


def test_a_watch_keeps_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {CLOCK: iter(["2400000", "1500000", "2400000"]), HEAT: iter(["48500", "81000", "80000"])}
    monkeypatch.setattr(machine, "_text", lambda path: next(readings[path]))
    states = iter(["0x0", "0xe0008"])
    monkeypatch.setattr(conditions, "throttled", lambda: next(states))
    monkeypatch.setattr(conditions, "load_average", lambda: 0.25)
    watch = Watch()
    watch.look()
    watch.look()
    assert watch.facts() == {
        "frequency_mhz": [1500.0, 2400.0],
        "temperature_c": [48.5, 81.0],
        "throttled": ["0x0", "0xe0008"],
        "load_before": 0.25,
    }


def test_a_machine_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_text", lambda _path: "")
    monkeypatch.setattr(conditions, "throttled", lambda: None)
    monkeypatch.setattr(conditions, "load_average", lambda: None)
    facts = Watch().facts()
    assert facts == {"frequency_mhz": None, "temperature_c": None, "throttled": [None, None], "load_before": None}
    assert spoilers({"governor": None}, facts) == []


def test_a_calm_machine_is_not_complained_of() -> None:
    assert spoilers({"governor": "performance"}, CALM) == []


@pytest.mark.parametrize(
    ("governor", "change", "text"),
    [
        ("ondemand", {}, "the CPU governor is ondemand"),
        (
            "performance",
            {"throttled": ["0x50000", "0x50000"]},
            "under-voltage earlier, throttling earlier (0x50000, since the board started)",
        ),
        ("performance", {"throttled": ["0x0", "0x50005"]}, "under-voltage, throttling (0x50005, during this run)"),
        ("performance", {"frequency_mhz": [1500.0, 2400.0]}, "the clock fell from 2400 to 1500 MHz"),
        ("performance", {"load_before": 1.83}, "other programs were running in the minute before (load 1.8)"),
    ],
)
def test_each_spoiler_is_named(governor: str, change: dict[str, Any], text: str) -> None:
    (found,) = spoilers({"governor": governor}, CALM | change)
    assert text in found
