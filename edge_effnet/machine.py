"""Facts about the machine that inference times depend on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_effnet.system import available_cores

#: CPU features that decide which kernels an engine takes.
_FEATURES = (
    "neon",
    "asimd",
    "asimddp",
    "fphp",
    "asimdhp",
    "i8mm",
    "sve",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
)
_PACKAGES = ("numpy", "pillow", "ai-edge-litert", "tflite-runtime", "onnxruntime")
_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
_VCGENCMD_SECONDS = 2.0
#: Bits of `vcgencmd get_throttled`; 16 places higher stands that it has happened since the start (Raspberry Pi
#: documentation).
_THROTTLING = ("under-voltage", "a capped clock", "throttling", "the soft temperature limit")
_HAS_HAPPENED = 16


def machine_facts() -> dict[str, Any]:
    """CPU, cores, features, governor, frequency (MHz), temperature (°C), throttling, versions; None where unknown."""
    cpuinfo = _cpuinfo()
    return {
        "model": _text("/proc/device-tree/model") or None,
        "cpu": cpuinfo.get("model name")
        or cpuinfo.get("Hardware")
        or cpuinfo.get("CPU part")
        or platform.processor()
        or None,
        "architecture": platform.machine(),
        "cores": available_cores(),
        "features": _features(cpuinfo),
        "governor": _text(f"{_CPUFREQ}/scaling_governor") or None,
        "frequency_mhz": frequency_mhz(),
        "max_frequency_mhz": _scaled(f"{_CPUFREQ}/cpuinfo_max_freq", 1000),
        "temperature_c": temperature_c(),
        "throttled": throttled(),
        "memory_mb": _memory_mb(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": [f"{name} {version}" for name in _PACKAGES if (version := _version(name))],
    }


def frequency_mhz() -> float | None:
    """The first core's clock, as the governor has set it."""
    return _scaled(f"{_CPUFREQ}/scaling_cur_freq", 1000)


def temperature_c() -> float | None:
    """Of the first thermal zone, the processor on most boards."""
    return _scaled("/sys/class/thermal/thermal_zone0/temp", 1000)


def throttled() -> str | None:
    """A Raspberry Pi's own word on throttling and under-voltage: "0x0" is none (`vcgencmd get_throttled`)."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().removeprefix("throttled=") or None


def throttling_words(state: str | None) -> list[str]:
    """What `throttled` means: each thing that is happening, or "… earlier" where it only has happened."""
    try:
        bits = int(state or "0", 16)
    except ValueError:
        return []
    found = []
    for place, name in enumerate(_THROTTLING):
        if bits >> place & 1:
            found.append(name)
        elif bits >> (place + _HAS_HAPPENED) & 1:
            found.append(f"{name} earlier")
    return found


def _cpuinfo() -> dict[str, str]:
    pairs = (line.split(":", 1) for line in _text("/proc/cpuinfo").splitlines() if ":" in line)
    facts: dict[str, str] = {}
    for key, value in pairs:
        facts.setdefault(key.strip(), value.strip())
    return facts


def _features(cpuinfo: dict[str, str]) -> list[str]:
    known = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return [feature for feature in _FEATURES if feature in known]


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip().rstrip("\0")
    except OSError:
        return ""


def _scaled(path: str, divisor: int) -> float | None:
    text = _text(path)
    return int(text) / divisor if text.lstrip("-").isdigit() else None


def _memory_mb() -> float | None:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 1024)
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
