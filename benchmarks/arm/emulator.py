"""Emulated boards: setting one up, installing the project's wheel in it, running its Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edge_effnet.errors import EdgeEffnetError, UsageError

_HERE = Path(__file__).parent
#: What a wheel is built from, where this runs in the project's own tree.
_PROJECT = _HERE.parents[1]
_SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "edge_effnet",
    "exporters",
    "quantization",
    "benchmarks",
)
_NEEDED = ("apt-get", "dpkg-deb", "gcc")
_MESSAGE_LINES = 8


class EmulationError(EdgeEffnetError, RuntimeError):
    """A board can't be set up, or its Python failed; the message ends with what it said."""


class EmulationUnavailableError(EmulationError):
    """This machine lacks what setting a board up needs: apt, a compiler, a connection."""


@dataclass(frozen=True)
class Board:
    """title: for people. architecture: Debian's name, which setup.sh takes."""

    title: str
    architecture: str


BOARDS: Mapping[str, Board] = MappingProxyType(
    {
        "pi4": Board("Raspberry Pi 4 (Cortex-A72)", "arm64"),
        "pi5": Board("Raspberry Pi 5 (Cortex-A76)", "arm64"),
        "armv7": Board("32-bit ARMv7 board (Cortex-A7)", "armhf"),
    }
)
#: The boards whose instructions are counted: they have an engine.
COUNTED = ("pi4", "pi5")


@dataclass(frozen=True)
class Guest:
    """A board with the project's wheel. home: setup.sh's folder; site: where the wheel is installed."""

    board: str
    home: Path
    site: Path

    @property
    def bundled_model(self) -> Path:
        """The wheel's."""
        return self.site / "edge_effnet" / "models" / "lite0-int8.tflite"

    def python(self, *arguments: str | Path, counts: Path | None = None) -> str:
        """Standard output of the guest's Python. counts: where counter.c writes. Raises EmulationError."""
        return _guest_python(self.board, self.home, arguments, site=self.site, counts=counts)


def default_folder() -> Path:
    """Where boards are kept unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-effnet-arm"


def prepare(architecture: str, folder: Path) -> Path:
    """The folder of an architecture's boards, set up when it isn't. Raises EmulationUnavailableError."""
    home = folder.resolve() / architecture
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing and not (home / "ready").exists():
        raise EmulationUnavailableError(
            f"an emulated board is set up with Debian's apt, dpkg and gcc; this machine has no {', '.join(missing)}"
        )
    try:
        _run(
            [str(_HERE / "setup.sh"), architecture, str(home)],
            f"setting up {architecture}",
            environment={**os.environ, "PYTHON": sys.executable},
        )
    except EmulationError as error:
        raise EmulationUnavailableError(str(error)) from error
    return home


def build_wheel(folder: Path) -> Path:
    """The wheel of this tree, built from a copy so that nothing is left in it. Raises UsageError where there is no
    tree.
    """
    if not (_PROJECT / "pyproject.toml").exists():
        raise UsageError("edge-effnet isn't installed from its source tree; name the wheel to test with --wheel FILE")
    with tempfile.TemporaryDirectory() as text:
        for name in _SOURCES:
            source, target = _PROJECT / name, Path(text) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        _run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), text],
            "building the wheel",
        )
    (wheel,) = folder.glob("edge_effnet-*.whl")
    return wheel


def install(board: str, home: Path, wheel: Path) -> Guest:
    """Lets the guest's own pip install the wheel, without an index: its requirements must be what the board has."""
    prefix = home / "guests" / hashlib.sha256(wheel.read_bytes()).hexdigest()[:16]
    if not (prefix / "ready").exists():
        shutil.rmtree(prefix, ignore_errors=True)
        options = (
            "--quiet",
            "--no-index",
            "--no-compile",
            "--no-warn-script-location",
            "--break-system-packages",
            "--root-user-action=ignore",
        )
        arguments = ("-m", "pip", "install", *options, "--prefix", prefix, wheel.resolve())
        _guest_python(board, home, arguments, site=None, counts=None)
        (prefix / "ready").touch()
    site = next(path for path in sorted(prefix.rglob("*-packages")) if (path / "edge_effnet").is_dir())
    return Guest(board, home, site)


def _guest_python(
    board: str, home: Path, arguments: Sequence[str | Path], *, site: Path | None, counts: Path | None
) -> str:
    environment = {**os.environ, "BOARD_HOME": str(home), "BOARD_PATH": str(site or ""), "COUNTS": str(counts or "")}
    return _run(
        [str(_HERE / "board-python"), board, *map(str, arguments)],
        f"Python on the {BOARDS[board].title}",
        environment=environment,
    )


def _run(command: list[str], what: str, *, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = [line for line in (done.stderr.strip() or done.stdout.strip()).splitlines() if line][-_MESSAGE_LINES:]
        raise EmulationError(f"{what} failed with status {done.returncode}: {' | '.join(lines) or 'no message'}")
    return done.stdout
