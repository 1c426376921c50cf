"""Names that other systems give: drive letters, backslashes, names that Windows reserves, bytes of other encodings; and
terminals that lack characters.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from edge_effnet.addresses import is_address
from edge_effnet.clashes import check_outputs
from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.live.sources import source_opener

from .conftest import PHOTOS, Run

PHOTO = sorted(PHOTOS.glob("*.jpg"))[0]
WINDOWS = (r"C:\photos\cat.jpg", r"c:cat.jpg", r"\\server\share\cat.jpg", r"D:/photos/cat.jpg", r"\\?\C:\cat.jpg")
NAMES = (
    r"back\slash.jpg",
    "C:drive.jpg",
    "CON.jpg",
    "aux.JPG",
    " leading and trailing .jpg",
    "trailing dot..jpg",
    "-dash.jpg",
    "a;b,c\"d'.jpg",
    "percent%20%s{0}.jpg",
    "e\u0301.jpg",
    "日本語 写真.jpg",
    "\u202egpj.jpg",
    os.fsdecode(b"latin-\xe9.jpg"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo under each of the names that the file system takes."""
    for name in NAMES:
        try:
            (tmp_path / name).write_bytes(PHOTO.read_bytes())
        except OSError:  # macOS takes no bytes that aren't UTF-8, Windows no colon
            continue
    return tmp_path


@pytest.mark.parametrize("name", WINDOWS)
def test_a_path_of_windows_is_a_path(name: str, run: Run) -> None:
    assert PureWindowsPath(name).suffix == ".jpg"
    assert not is_address(name)
    outcome = run("predict", name)
    assert (outcome.status, "no such file" in outcome.out + outcome.err) == (2, True)
    with pytest.raises(UsageError, match="no such file"):
        source_opener(name)


@pytest.mark.torch
@pytest.mark.parametrize("name", WINDOWS)
def test_a_path_of_windows_is_no_hub(name: str, tmp_path: Path) -> None:
    from edge_effnet.exporters import export

    with pytest.raises((CheckpointError, UsageError)) as caught:
        export(name, tmp_path / "out.tflite")
    assert "no such file" in str(caught.value)


@pytest.mark.litert
@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_each_name_has_its_row(form: str, folder: Path, run: Run) -> None:
    outcome = run("predict", folder, "--format", form, "--top-k", 1)
    assert outcome.status == 0
    found = {source.lstrip("'") for source in _sources(form, outcome.out)}
    assert len(found) == len(list(folder.iterdir())) >= 10
    assert r"back\slash.jpg" in " ".join(found) or os.sep == "\\"


def _sources(form: str, text: str) -> list[str]:
    if form == "csv":
        return [row["source"] for row in csv.DictReader(io.StringIO(text))]
    entries: list[Any] = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    return [entry["source"] for entry in entries]


@pytest.mark.litert
def test_copies_are_saved_under_every_name(folder: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> None:
    copies = tmp_path_factory.mktemp("copies")
    assert run("predict", folder, "--save", copies).status == 0
    assert len(list(copies.iterdir())) == len(list(folder.iterdir()))


def test_outputs_clash_by_file_and_not_by_spelling(tmp_path: Path) -> None:
    model = tmp_path / r"m\odel.tflite"
    model.write_bytes(b"")
    with pytest.raises(UsageError):
        check_outputs({"-o": tmp_path / "." / model.name}, {"the model": str(model)})
    check_outputs({"-o": tmp_path / "model.tflite"}, {"the model": str(model)})


@pytest.mark.litert
@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "shift_jis", "ascii", "utf-16"])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_terminal_that_lacks_characters(encoding: str, form: str, folder: Path, tmp_path: Path) -> None:
    labels = tmp_path.parent / f"{tmp_path.name}-labels.txt"
    labels.write_text("\n".join(f"größe 犬 🐕 {number}" for number in range(1000)), encoding="utf-8")
    command = [sys.executable, "-m", "edge_effnet", "predict", str(folder), "--labels", str(labels), "--format", form]
    done = subprocess.run(
        command, capture_output=True, timeout=120, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    text = done.stdout.decode(encoding)
    assert len(text.splitlines()) >= len(list(folder.iterdir())) if form != "json" else json.loads(text)
