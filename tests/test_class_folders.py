from __future__ import annotations

from pathlib import Path

import pytest

from edge_effnet.class_folders import LABEL_FILE, class_folders, class_name
from edge_effnet.datasets import read_dataset
from edge_effnet.errors import UsageError


def test_a_folders_name_or_what_its_file_says(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "b" / LABEL_FILE).write_text("tea / coffee ☕\n", encoding="utf-8")
    assert [path.name for path in class_folders(tmp_path)] == ["a", "b"]
    assert [class_name(path) for path in class_folders(tmp_path)] == ["a", "tea / coffee ☕"]


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"x" * 600, b"x" * 5000, b"\xff"])
def test_what_is_no_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LABEL_FILE).write_bytes(content)
    with pytest.raises(UsageError, match="class name in"):
        class_name(tmp_path)


def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    with pytest.raises(UsageError, match="no permission to look into the class folder"):
        class_name(tmp_path)


def test_names_are_compared_as_they_look(tmp_path: Path) -> None:
    folder = tmp_path / " Gro\u0308ße "  # as macOS writes an ö
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system has no such name")
    assert class_name(folder) == "Größe"
    (folder / "a.jpg").write_bytes(b"")
    for label in ("größe", "Gro\u0308ße", "GRÖSSE "):
        (found,) = read_dataset(tmp_path, num_classes=2, labels=["cat", label])
        assert found.classes == {1}


def test_a_data_set_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "c1"
    folder.mkdir()
    (folder / LABEL_FILE).write_text("tea / coffee")
    (folder / "a.jpg").write_bytes(b"")
    (found,) = read_dataset(tmp_path, num_classes=2, labels=["cat", "tea / coffee"])
    assert found.classes == {1}
