"""What people give instead of a network: a page that a download saved, a pointer of Git LFS, an address, a photo."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_effnet.errors import CheckpointError

#: How a file begins → what it is, and what to do. Lower-case, without blanks before it.
_BEGINNINGS = {
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; expected the file: git lfs pull",
    b"<!doctype": "a web page and not the file itself; expected the file: on a hub it is under /resolve/, not /blob/",
    b"<html": "a web page and not the file itself; expected the file: on a hub it is under /resolve/, not /blob/",
    b"\x1f\x8b": "packed by gzip; expected a network: unpack it first",
    b"\xff\xd8\xff": "a photo; expected a network",
    b"\x89png": "a photo; expected a network",
}
_LONGEST = 64
_HUB_ADDRESS = re.compile(r"https?:/+(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]*efficientnet[\w.-]*", re.IGNORECASE)
_EXPECTED = "expected weights, a Keras, ONNX or TFLite file, a folder, hf-hub:OWNER/NAME[@REVISION] or torchvision:NAME"


def check_is_a_network(source: str | os.PathLike[str]) -> None:
    """Raises CheckpointError for a path where nothing lies, an empty file, and files that are known to be none."""
    path = Path(source)
    if not os.path.exists(path):
        raise CheckpointError(f"{source}: {_missing(os.fspath(source))}")
    if not path.is_file():  # a pipe would be waited for
        return
    try:
        with open(path, "rb") as file:
            head = file.read(_LONGEST)
    except OSError:
        return  # whose reader says what is wrong
    if not head:
        raise CheckpointError(f"{path}: is empty; expected a network: get it again")
    start = head.lstrip().lower()
    what = next((what for beginning, what in _BEGINNINGS.items() if start.startswith(beginning)), None)
    if what is not None:
        raise CheckpointError(f"{path}: is {what}")


def _missing(source: str) -> str:
    """Nothing lies there; what it may have been meant for."""
    from edge_effnet.exporters.inputs.hub import TORCHVISION

    if address := _HUB_ADDRESS.fullmatch(source):
        return f"an address; expected what export fetches itself: hf-hub:{address[1]}"
    if "://" in source:
        return "an address; expected a file: download it first"
    if source.startswith(("timm:", "timm/")):
        return f"no file or folder; timm's published weights lie on its hub: hf-hub:timm/{source[5:]}"
    if _REPOSITORY.fullmatch(source):
        return f"no file or folder; if it is a repository on a hub: hf-hub:{source}"
    if source in TORCHVISION:
        return f"no file or folder; of torchvision's published weights say torchvision:{source}"
    return f"no such file or folder; {_EXPECTED}"
