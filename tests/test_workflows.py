"""The workflows run what .ci/run runs, with nothing that changes by itself and no more rights than they need."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: What can't be run here, because it publishes.
PUBLISHING = "gh release create"


def steps(path: Path) -> list[str]:
    found = re.findall(r"^\s*- run: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert not [step for step in found if step in ("|", ">")], "a step of several lines belongs into scripts/"
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_step_is_a_command_that_our_own_run_runs(path: Path) -> None:
    here = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = {
        " ".join(line.split("#", maxsplit=1)[0].split()[: 2 if line.startswith("make") else 1]) for line in here
    }
    found = steps(path)
    assert found
    for step in found:
        if step.startswith(PUBLISHING):
            continue
        words = step.split()
        assert " ".join(words[: 2 if words[0] == "make" else 1]) in commands, step
        assert words[0] == "make" or os.access(ROOT / words[0], os.X_OK), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_are_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for used in re.findall(r"uses: (.*)$", text, re.MULTILINE):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used
    assert "\npermissions: {}\n" in text
    jobs = text[text.index("\njobs:\n") :]
    assert jobs.count("    runs-on:") == jobs.count("    permissions:") == jobs.count("    timeout-minutes:")
    assert "secrets." not in text


def test_the_matrix_is_what_the_package_says() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    (line,) = re.findall(r"python: \[(.*)\]", text)
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert re.findall(r"3\.\d+", line) == classifiers


def notes(tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts" / "release_notes.sh", tag], capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.name == "nt", reason="a script for bash")
def test_release_notes_are_the_changelogs_part() -> None:
    from edge_effnet.version import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    done = notes(f"v{__version__}")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] in text
    assert "## [" not in done.stdout
    other = notes("v99.0.0")
    assert (other.returncode, other.stdout) == (1, "")
    assert f"the tag says 99.0.0, edge_effnet/version.py {__version__}" in other.stderr
