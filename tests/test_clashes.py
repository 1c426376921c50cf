"""No output is an input: by path, link, hard link, or as a photo of an input folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.photos import synthetic_photo

from edge_effnet.clashes import check_outputs, check_save_folder
from edge_effnet.errors import UsageError


def alias(path: Path, how: str) -> Path:
    """Another name of the file."""
    other = path.with_name(f"other{path.suffix}")
    if how == "hard link":
        os.link(path, other)
    elif how == "link":
        other.symlink_to(path)
    else:
        other = path.parent / "." / ".." / path.parent.name / path.name
    return other


@pytest.mark.parametrize("how", ["path", "link", "hard link"])
def test_an_output_that_is_an_input(tmp_path: Path, how: str) -> None:
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    files = {name: tmp_path / name for name in ("a.tflite", "photos/inner/cat.png", "photos/labels.csv")}
    for path in files.values():
        path.write_bytes(b"content")
    inputs = {"the model": str(files["a.tflite"]), "a photo": [tmp_path / "photos"], "nothing": None, "array": object()}
    for path in files.values():
        with pytest.raises(
            UsageError, match=r"-o .* is (the model|a photo), which it would overwrite; give the output"
        ):
            check_outputs({"-o": alias(path, how), "--report": None}, inputs)
    check_outputs({"-o": tmp_path / "new.tflite", "--report": tmp_path / "photos" / "notes.html"}, inputs)


def test_two_outputs_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UsageError, match=r"-o .*a and --report .*b are the same file; give each a name of its own"):
        check_outputs({"-o": tmp_path / "a", "--report": tmp_path / "b"}, {})


def test_a_folder_of_copies(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "cat.png"
    photo.parent.mkdir()
    synthetic_photo(0).save(photo)
    (tmp_path / "link").symlink_to(photo.parent)
    for folder in (photo.parent, tmp_path / "link"):
        with pytest.raises(
            UsageError, match=r"--save .* is the folder of the photo .*cat.png; give the copies another"
        ):
            check_save_folder("--save", folder, [b"standard input", photo])
    check_save_folder("--save", tmp_path / "new", [photo])
