from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.source import open_source


def test_bytes_and_their_kin() -> None:
    for source in (b"abc", bytearray(b"abc"), memoryview(b"abc"), memoryview(b"abc").cast("b")):
        name, data = open_source(source)
        assert (name, bytes(data), data.readonly, data.format) == ("model", b"abc", True, "B")
    assert open_source(b"abc", name="x")[0] == "x"


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    for source in (path, str(path)):
        name, data = open_source(source)
        assert (name, bytes(data), data.readonly) == (str(path), b"abc", True)
    (tmp_path / "m").write_bytes(b"x")
    assert bytes(data) == b"abc", "what was read stays, whatever happens to the file"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with open(tmp_path / "m", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelFileError, match=r"1,099,511,627,776 bytes; at most 536,870,912 are read"):
        open_source(tmp_path / "m")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    cases = {
        "missing": "no such file; expected a .tflite or .onnx file",
        "": "a folder; expected a .tflite or .onnx file",
        "empty": r"empty \(0 bytes\); the download or copy may have failed",
        "nul\0": "can't be read|no such file",
    }
    for name, message in cases.items():
        with pytest.raises(ModelFileError, match=message):
            open_source(tmp_path / name)
    with pytest.raises(ModelFileError, match="model: 0 bytes"):
        open_source(b"")
    with pytest.raises(ModelFileError, match="can't read a model from int"):
        open_source(3)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        open_source(tmp_path / "pipe")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "m").write_bytes(b"abc")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ModelFileError, match=r"can't be read \(Permission denied\)"):
        open_source(tmp_path / "m")
