"""Environments of other makers' packages: made once, and their failures told in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")  # the accuracy peers' module needs the quantizer, which needs its schema
pytest.importorskip("torch")

from edge_effnet.benchmarks import environments
from edge_effnet.benchmarks.clients import CLIENTS
from edge_effnet.benchmarks.environments import Environment, PeerError, prepare, run, versions
from edge_effnet.benchmarks.speed_peers import ENVIRONMENTS, SUBJECTS

NUMPY = Environment("numpy, pillow", "run_ncnn.py", ("numpy",))


def test_an_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Path] = []
    commands: list[Any] = []
    monkeypatch.setattr(environments.venv, "create", lambda home, **_: made.append(home) or home.mkdir(parents=True))
    monkeypatch.setattr(environments, "run", lambda command, what, **_: commands.append((command, what)))
    first, second = (prepare("peer", NUMPY, tmp_path) for _ in range(2))
    assert first == second == tmp_path / "peer" / "bin" / "python"
    assert made == [tmp_path / "peer"]
    ((command, what),) = commands
    assert command[1:] == ["-m", "pip", "install", "--quiet", "numpy"]
    assert what == "installing numpy, pillow"


def test_an_install_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise PeerError("no network")

    monkeypatch.setattr(environments.venv, "create", lambda home, **_: home.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(environments, "run", fails)
    for _ in range(2):
        with pytest.raises(PeerError, match="no network"):
            prepare("peer", NUMPY, tmp_path)


def test_a_failure_is_its_last_line() -> None:
    with pytest.raises(PeerError, match=r"^installing x failed: ValueError: the end$"):
        run([sys.executable, "-c", "raise ValueError('the end')"], "installing x")
    with pytest.raises(PeerError, match=r"^it failed: status 4, no message$"):
        run([sys.executable, "-c", "import os; os._exit(4)"], "it")


def test_versions_of_the_packages_in_the_title() -> None:
    first, second = versions(NUMPY, Path(sys.executable)).split(", ")
    assert first.startswith("numpy ")
    assert second.startswith("pillow ")


def test_every_peer_has_its_script_and_every_subject_its_environment() -> None:
    assert all(found.program.is_file() for found in (*ENVIRONMENTS.values(), *CLIENTS.values()))
    assert all(subject.environment in (None, *ENVIRONMENTS) for subject in SUBJECTS.values())
