from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_effnet.cli.console import write
from edge_effnet.cli.output import make_printer
from edge_effnet.text import printable

from .conftest import PHOTOS, Run

_PHOTO = str(PHOTOS / "tabby-cat.jpg") if (PHOTOS / "tabby-cat.jpg").exists() else str(sorted(PHOTOS.glob("*.jpg"))[0])
_HOSTILE = "\x1b]0;owned\x07\u202e\x9b31m"


def _shell(redirections: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """The command line with a shell's redirections, like `>&-`."""
    command = f'exec "$@" {redirections}'
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "edge_effnet", *words], capture_output=True, timeout=60
    )


@pytest.mark.parametrize(
    "words", [("doctor",), ("info", "MODEL", "--format", "json"), ("--version",), ("predict", "--help")]
)
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_standard_output_that_takes_nothing(redirection: str, words: tuple[str, ...]) -> None:
    from edge_effnet.classifier import BUNDLED_MODEL

    done = _shell(redirection, *(str(BUNDLED_MODEL) if word == "MODEL" else word for word in words))
    assert done.returncode == 2
    assert done.stderr.startswith(b"edge-effnet: error: can't write to standard output: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.litert
def test_without_standard_error_everything_else_is_as_always() -> None:
    words = ("predict", _PHOTO, "--format", "csv")
    usual = _shell("", *words)
    assert usual.returncode == 0
    for redirection in ("2>&-", "2>/dev/full", "<&-", "<&- 2>&-"):
        done = _shell(redirection, *words)
        assert (done.returncode, done.stdout) == (0, usual.stdout)


@pytest.mark.parametrize("words", [("--help",), ("doctor",), ("predict", "--help")])
def test_a_reader_that_has_gone_ends_it_without_a_word(words: tuple[str, ...]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "edge_effnet", *words]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, timeout=60)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_standard_input_is_a_users_matter() -> None:
    done = _shell("<&-", "predict", "-")
    assert done.returncode == 2
    assert b"standard input (-) is closed" in done.stderr


def test_wrong_options_are_escaped(run: Run) -> None:
    outcome = run("doctor", _HOSTILE)
    assert outcome.status == 2
    assert "\\x1b]0;owned\\x07\\u202e\\x9b31m" in outcome.err
    assert outcome.err == printable(outcome.err[:-1]) + "\n"


@pytest.mark.litert
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_hostile_names_of_photos_and_labels(run: Run, tmp_path: Path, form: str) -> None:
    folder = tmp_path / _HOSTILE
    folder.mkdir()
    photo, broken = folder / "a.jpg", folder / "b.jpg"
    photo.write_bytes(Path(_PHOTO).read_bytes())
    broken.write_bytes(b"broken")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"{_HOSTILE}{number}" for number in range(1000)), encoding="utf-8")
    outcome = run("predict", folder, "--labels", labels, "--format", form)
    assert outcome.status == 2
    for line in (outcome.out + outcome.err).splitlines():
        assert not any(character in line for character in "\x1b\x07\u202e\x9b")
    if form == "json":
        assert json.loads(outcome.out)[0]["source"] == str(photo)


def _csv(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    printer = make_printer("csv", write, **options)
    printer.add({"source": "=1+1.jpg", "status": "ok", "predictions": [{"index": 1, "label": "@cat", "score": 0.5}]})
    return capsys.readouterr().out.splitlines()[1]


def test_cells_are_no_formulas_unless_raw(capsys: pytest.CaptureFixture[str]) -> None:
    assert _csv(capsys) == "'=1+1.jpg,ok,1,1,'@cat,0.500000,"
    assert _csv(capsys, cell=printable) == "=1+1.jpg,ok,1,1,@cat,0.500000,"


@pytest.mark.litert
def test_the_option_for_raw_cells(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "=a.jpg"
    photo.write_bytes(Path(_PHOTO).read_bytes())
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert run("predict", "=a.jpg", "--format", "csv").out.splitlines()[1].startswith("'=a.jpg,")
        assert run("predict", "=a.jpg", "--format", "csv", "--raw-csv").out.splitlines()[1].startswith("=a.jpg,")
    finally:
        os.chdir(here)


def test_labels_that_break_lines_are_refused(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    for bad, what in (("a\0b", "NUL"), ("x" * 501, "501 characters")):
        labels.write_text("\n".join([bad, *(f"l{number}" for number in range(999))]), encoding="utf-8")
        outcome = run("predict", _PHOTO, "--labels", labels)
        assert outcome.status == 2
        assert "label 0" in outcome.err
        assert what in outcome.err
