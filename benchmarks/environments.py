"""Other makers' packages, each set in an environment of its own, made with pip when it's first needed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_effnet.errors import EdgeEffnetError

#: Of the programs that run in the environments.
SCRIPTS = Path(__file__).with_name("peers")
_MESSAGE_LENGTH = 300


class PeerError(EdgeEffnetError, RuntimeError):
    """A peer can't be installed, or fails; the message is what results record."""


@dataclass(frozen=True)
class Environment:
    """title: the packages, comma-separated, whose versions results name. script: of SCRIPTS. requirements: for pip."""

    title: str
    script: str
    requirements: tuple[str, ...]

    @property
    def program(self) -> Path:
        """The script's path."""
        return SCRIPTS / self.script


def prepare(name: str, environment: Environment, folder: Path) -> Path:
    """The Python of the environment `name` below `folder`, made when it isn't there. Raises PeerError."""
    home = folder / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True)
        run(
            [str(python), "-m", "pip", "install", "--quiet", *environment.requirements],
            f"installing {environment.title}",
        )
        ready.touch()
    return python


def run(command: Sequence[str], what: str, *, folder: Path | None = None) -> None:
    """Runs a program to its end, in `folder`. Raises PeerError with the last line it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}, no message"]
        print(done.stderr, file=sys.stderr)
        raise PeerError(f"{what} failed: {lines[-1][:_MESSAGE_LENGTH]}")


def versions(environment: Environment, python: Path) -> str:
    """The versions of the packages in the title, as one text."""
    names = environment.title.split(", ")
    code = (
        f"from importlib.metadata import version; print(', '.join(f'{{name}} {{version(name)}}' for name in {names!r}))"
    )
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
