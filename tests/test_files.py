"""Writing: either the old or the whole new file is there, and nothing else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from edge_effnet.errors import OutputError
from edge_effnet.files import require_writable_folder, sha256_of, write_atomically


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_file_and_an_old_one(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "f", content)
        assert listing(tmp_path) == {"f": content}


def test_permissions(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", b"")
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o604)
        write_atomically(str(tmp_path / "old"), b"x")
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o640, 0o604]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_midway_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException) -> None:
    (tmp_path / "f").write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_atomically(tmp_path / "f", b"new")
    assert listing(tmp_path) == {"f": b"old"}
    if isinstance(error, OSError):
        assert str(caught.value) == f"can't write {tmp_path / 'f'}: No space left on device; nothing was changed"


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"can't write .*: No such file or directory; nothing was changed"):
        write_atomically(tmp_path / "none" / "f", b"")
    (tmp_path / "d").mkdir()
    with pytest.raises(OutputError, match=r"can't write .*: Is a directory"):
        write_atomically(tmp_path / "d", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_the_early_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable_folder(tmp_path / "f")
    with pytest.raises(OutputError, match=r"the folder .* does not exist; create it first"):
        require_writable_folder(tmp_path / "none" / "f")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission to write in"):
        require_writable_folder(tmp_path / "f")


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(content)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(content).hexdigest()
