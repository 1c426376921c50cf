"""What people give instead of a network is named, and what to do stands beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.no_network import check_is_a_network
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a network: get it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS.*: git lfs pull"),
        (b"\n <!DOCTYPE html><html>", "is a web page .* under /resolve/, not /blob/"),
        (b"<HTML><body>", "is a web page"),
        (b"\x1f\x8b\x08\x00", "is packed by gzip; expected a network: unpack it first"),
        (b"\xff\xd8\xff\xe0", "is a photo; expected a network"),
        (b"\x89PNG\r\n", "is a photo"),
    ],
)
@pytest.mark.parametrize("name", ["m.pth", "m.onnx", "model.safetensors"])
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_network(tmp_path / name, InputOptions())
    if name == "model.safetensors":
        with pytest.raises(CheckpointError, match=message):
            open_network(tmp_path, InputOptions())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://huggingface.co/timm/x.in1k/blob/main/m.safetensors", "an address; .* itself: hf-hub:timm/x.in1k$"),
        ("https://example.org/m.pth", "an address; expected a file: download it first"),
        ("timm:efficientnet_b0", "hf-hub:timm/efficientnet_b0$"),
        ("timm/efficientnet_b0.ra_in1k", "hf-hub:timm/efficientnet_b0.ra_in1k$"),
        ("google/efficientnet-b0", "if it is a repository on a hub: hf-hub:google/efficientnet-b0$"),
        ("efficientnet_b0", "say torchvision:efficientnet_b0$"),
        (
            "best.pth",
            r"no such file or folder; expected weights, .* hf-hub:OWNER/NAME\[@REVISION\] or torchvision:NAME$",
        ),
        ("a" * 5000, "no such file or folder"),
        ("a\0b", "no such file or folder"),
    ],
)
def test_names_under_which_nothing_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        open_network(source, InputOptions())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX'")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_is_a_network(tmp_path / "pipe")
