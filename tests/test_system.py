"""What a system lacks has a stand-in: Windows' is run here with a module that locks as Windows' does."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import types
from pathlib import Path

import pytest

from edge_effnet import files, system

fcntl = pytest.importorskip("fcntl")
_OFD_SETLK = getattr(fcntl, "F_OFD_SETLK", None)


def locking(handle: int, _mode: int, count: int) -> None:
    """msvcrt's: `count` bytes from where the handle stands, PermissionError where another handle has them."""
    place = os.lseek(handle, 0, os.SEEK_CUR)
    wanted = struct.pack("hhqqhxxxx", fcntl.F_WRLCK, os.SEEK_SET, place, count, 0)
    try:
        fcntl.fcntl(handle, _OFD_SETLK, wanted)
    except OSError as error:
        raise PermissionError(13, "Permission denied") from error


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """`edge_effnet.system` as it is on Windows, and `files` with it."""
    if sys.platform != "linux":
        pytest.skip("stands in for Windows on Linux")
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    spec = importlib.util.spec_from_file_location("windows_system", str(system.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "sys", types.SimpleNamespace(platform="win32"))
    for name in ("let_go", "open_folder", "open_to_lock", "own_user", "rename_open", "reopened", "try_lock"):
        monkeypatch.setattr(files, name, getattr(module, name))
    monkeypatch.setattr(files, "own_user", os.getuid)  # files here have an owner
    return module


def test_a_lock_is_one_handles(tmp_path: Path, windows: types.ModuleType) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text")
    for module in (system, windows):
        first, second = (os.open(path, os.O_RDWR) for _ in range(2))
        assert module.try_lock(first) == "mine"
        assert module.try_lock(second) == "held"
        assert os.read(second, 4) == b"text"
        os.close(first)
        assert module.try_lock(second) == "mine"
        os.close(second)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    code = (
        "import os, sys; from edge_effnet.system import try_lock; "
        "print(try_lock(os.open(sys.argv[1], os.O_RDWR)), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    handle = os.open(path, os.O_RDWR)
    assert system.try_lock(handle) == "held"
    process.kill()
    process.communicate()
    assert system.try_lock(handle) == "mine"
    os.close(handle)


@pytest.mark.usefixtures("windows")
def test_files_are_replaced_whole_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert files.write_new([path, tmp_path / "model-2.tflite"], b"another").name == "model-2.tflite"
    with pytest.raises(TypeError), files.writing_atomically(path) as file:
        assert [os.write(file, part) for part in (b"torn", None)]  # type: ignore[arg-type]
    assert path.read_bytes() == b"new"
    assert {one.name for one in tmp_path.iterdir()} == {"model.tflite", "model-2.tflite"}


@pytest.mark.usefixtures("windows")
def test_what_a_killed_process_left_is_removed_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with files.temporary_folder() as folder:
        files.remove_stale(tmp_path)
        assert folder.is_dir(), "a living process holds it"
        (folder / "model.tflite").write_bytes(b"")
    assert not folder.exists()
    handle, left = files._locked(files._new_folder)
    os.close(handle)
    handle, torn = files._locked(lambda: files._new_file(tmp_path))
    os.close(handle)
    (tmp_path / "mine").write_bytes(b"stays")
    files.remove_stale(tmp_path)
    assert not Path(left).exists()
    assert not Path(torn).exists()
    assert (tmp_path / "mine").exists()


def test_a_renamed_file_may_be_looked_at_by_a_scanner_first(
    tmp_path: Path, windows: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def replace(name: str, target: Path) -> None:
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(13, "The process cannot access the file")
        os.rename(name, target)

    monkeypatch.setattr(windows, "time", types.SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(os, "replace", replace)
    files.write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert len(tries) == 3


def test_what_windows_does_not_tell(windows: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: ended.append(words))
    assert windows.available_cores() == os.cpu_count()
    assert windows.load_average() is None
    assert windows.own_user() == 0
    assert not windows.group_is_left(os.getpid())
    windows.keep_to_core(os.getpid(), 10_000)
    windows.end_group(7, how="ask")
    windows.end_group(7, how="force")
    assert ended == [["taskkill", "/T", "/PID", "7"], ["taskkill", "/T", "/F", "/PID", "7"]]


def test_a_file_that_was_replaced_has_another_identity(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert system.file_identity(path) == ()
    path.write_bytes(b"one")
    before = system.file_identity(path)
    assert system.file_identity(path) == before
    files.write_atomically(path, b"two")
    assert system.file_identity(path) != before
