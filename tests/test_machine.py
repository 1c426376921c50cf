"""Facts about the machine: never an error, None where nothing is known."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from edge_effnet import machine

KEYS = {
    "model",
    "cpu",
    "architecture",
    "cores",
    "features",
    "governor",
    "frequency_mhz",
    "max_frequency_mhz",
    "temperature_c",
    "throttled",
    "memory_mb",
    "system",
    "python",
    "versions",
}


def test_on_this_machine() -> None:
    facts = machine.machine_facts()
    assert set(facts) == KEYS
    assert facts["cores"] >= 1
    assert any(version.startswith("numpy ") for version in facts["versions"])
    json.dumps(facts)


def test_a_raspberry_pi(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0",
        "/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp fphp asimdhp crc32\nCPU part\t: 0xd0b\n\nprocessor\t: 1\nCPU part\t: 0xd0b\n",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000",
        "/sys/class/thermal/thermal_zone0/temp": "48500",
        "/proc/meminfo": "MemTotal:        8245248 kB\nMemFree: 1 kB",
    }
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(path, ""))
    monkeypatch.setattr(machine.shutil, "which", lambda _name: "/usr/bin/vcgencmd")
    monkeypatch.setattr(
        machine.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, "throttled=0x50005\n")
    )
    facts = machine.machine_facts()
    found = [
        facts[name] for name in ("model", "cpu", "governor", "frequency_mhz", "temperature_c", "throttled", "memory_mb")
    ]
    assert found == ["Raspberry Pi 5 Model B Rev 1.0", "0xd0b", "ondemand", 2400.0, 48.5, "0x50005", 8052]
    assert facts["features"] == ["asimd", "asimddp", "fphp", "asimdhp"]


def test_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 2)

    monkeypatch.setattr(machine, "_text", lambda _path: "")
    monkeypatch.setattr(machine.shutil, "which", lambda _name: "/usr/bin/vcgencmd")
    monkeypatch.setattr(machine.subprocess, "run", hangs)
    facts = machine.machine_facts()
    assert [
        facts[name] for name in ("model", "governor", "frequency_mhz", "temperature_c", "throttled", "memory_mb")
    ] == [None] * 6


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, []),
        ("0x0", []),
        ("nonsense", []),
        ("0x1", ["under-voltage"]),
        ("0x50005", ["under-voltage", "throttling"]),
        ("0xa0008", ["a capped clock earlier", "the soft temperature limit"]),
    ],
)
def test_throttling_in_words(state: str | None, words: list[str]) -> None:
    assert machine.throttling_words(state) == words
