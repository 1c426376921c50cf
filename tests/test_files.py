"""Writing: either the old or the whole new file is there, and nothing else."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_effnet import files
from edge_effnet.errors import OutputError
from edge_effnet.files import remove_stale, require_writable_folder, sha256_of, temporary_folder, write_atomically


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
def test_what_fails_midway_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
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


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_long_name(tmp_path: Path) -> None:
    """The temporary file has a name of its own, so a target may use all 255 bytes."""
    write_atomically(tmp_path / ("x" * 255), b"1")
    assert len(listed(tmp_path)[0]) == 255


def ours(path: Path) -> Path:
    """A file or folder as a killed process leaves it."""
    name = path.with_name(f".edge-effnet-{path.stat().st_ino:x}-abcd1234.part")
    return path.rename(name)


def folder_of(parent: Path, name: str) -> Path:
    """A temporary folder as this program makes them, but for its name."""
    (parent / name / "inner").mkdir(parents=True)
    (parent / name / ".made-by-edge-effnet").touch()
    return parent / name


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(b"torn")
    ours(tmp_path / "torn")
    require_writable_folder(tmp_path / "f")
    write_atomically(tmp_path / "f", b"1")
    assert listed(tmp_path) == ["f"]


def test_the_name_alone_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ZIP of the repository unpacks to edge-effnet-main: folders and files that others named, copied or linked."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "edge-effnet-main" / ".git").mkdir(parents=True)
    for number, name in enumerate(["edge-effnet-1.2.3", ".edge-effnet-abc.part", ".edge-effnet-1f-abcd1234.part"]):
        folder_of(tmp_path, name)
        (tmp_path / f".edge-effnet-{number:x}-abcdefgh.part").write_bytes(b"a user's")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "edge-effnet-main")
    link.rename(tmp_path / f".edge-effnet-{link.lstat().st_ino:x}-abcd1234.part")
    unmarked = tmp_path / "unmarked"
    (unmarked / "inner").mkdir(parents=True)
    ours(unmarked)
    before = listed(tmp_path)
    with temporary_folder():
        pass
    require_writable_folder(tmp_path / "f")
    assert listed(tmp_path) == before
    assert (tmp_path / "edge-effnet-main" / ".git").is_dir()


def test_what_a_living_process_holds_stays(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "alive").touch()
    name = ours(tmp_path / "alive")
    with open(name, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_stale(tmp_path)
        assert listed(tmp_path) == [name.name]
    remove_stale(tmp_path)
    assert listed(tmp_path) == []
    remove_stale(tmp_path / "none")


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dead").touch()
    name = ours(tmp_path / "dead").name
    monkeypatch.setitem(sys.modules, "fcntl", None)
    remove_stale(tmp_path)
    write_atomically(tmp_path / "f", b"1")
    assert listed(tmp_path) == [name, "f"]


def test_a_temporary_file_that_another_run_took_for_litter_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its locking; a cleaning process that was quicker is played by the first call."""
    made: list[int] = []

    def lock(handle: int) -> None:
        made.append(handle)
        if len(made) == 1:
            next(tmp_path.iterdir()).unlink()

    monkeypatch.setattr("edge_effnet.files.lock", lock)
    write_atomically(tmp_path / "f", b"1")
    assert len(made) == 2
    assert listing(tmp_path) == {"f": b"1"}


def test_temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours(folder_of(tmp_path, "dead"))
    with temporary_folder() as folder:
        assert listed(tmp_path) == [folder.name]
        (folder / "f").touch()
        with temporary_folder() as second:
            assert folder.exists()
            assert second != folder
    assert listed(tmp_path) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with (
        pytest.raises(
            OutputError,
            match=r"can't make a temporary folder in .*none: No such file or directory; set TMPDIR to another place",
        ),
        temporary_folder(),
    ):
        pass


def test_folders_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = ours(folder_of(tmp_path, "theirs"))
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with temporary_folder():
        pass
    assert listed(tmp_path) == [theirs.name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    ).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    write_atomically(small_disk / "f", b"old")
    with pytest.raises(OutputError, match=r"can't write .*: No space left on device; nothing was changed"):
        write_atomically(small_disk / "f", bytes(2 << 20))
    assert listing(small_disk) == {"f": b"old"}
    write_atomically(small_disk / "f", bytes(1 << 18))
    assert (small_disk / "f").stat().st_size == 1 << 18


def test_a_new_file_overwrites_nothing(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("a", "b", "c")]
    (tmp_path / "a").write_text("old")
    assert files.write_new(names, b"new") == tmp_path / "b"
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["old", "new"]


@pytest.mark.parametrize("links", [True, False])
def test_writers_at_once_get_a_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait(30)
        files.write_new((tmp_path / f"photo-{name}.jpg" for name in range(100)), str(number).encode())

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == [str(number) for number in range(8)]


def _no_links(*_: object) -> None:
    raise PermissionError(errno.EPERM, "no such thing here")


def test_a_new_file_where_none_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't write"):
        files.write_new([tmp_path / "missing" / "a"], b"")


@pytest.mark.parametrize("kind", ["folder", "loop", "fifo", "nul", "long"])
def test_what_cannot_be_replaced_is_found_before_the_work(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"nul": "a\0b", "long": "x" * 300}.get(kind, "out")
    if kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(OutputError, match="can't write"):
        require_writable_folder(path)
    if kind == "fifo":
        files.require_appendable(path)
    else:
        with pytest.raises(OutputError, match="can't write"):
            files.require_appendable(path)
