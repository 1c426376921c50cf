"""Published weights by name: repositories of a Hugging Face hub, and torchvision's files.

Sources: huggingface_hub (which keeps its cache, resumes, and obeys HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME itself);
torchvision 0.29.1's `models/efficientnet.py` for the files' names, torch's `hub.py` for where they are kept.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from edge_effnet.errors import CheckpointError, MissingDependencyError, UsageError, first_line
from edge_effnet.exporters.inputs.folder import NETWORKS, WEIGHTS, laid_under
from edge_effnet.exporters.inputs.options import FoundLabels, InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions

#: Called with (bytes so far, bytes in all or 0 where the server doesn't say).
Transferred: TypeAlias = Callable[[int, int], None]
#: torchvision's names → the files of its default weights; the last eight digits are the SHA-256's first.
TORCHVISION = {
    "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    "efficientnet_b1": "efficientnet_b1-c27df63c.pth",
    "efficientnet_b2": "efficientnet_b2_rwightman-c35c1473.pth",
    "efficientnet_b3": "efficientnet_b3_rwightman-b3899882.pth",
    "efficientnet_b4": "efficientnet_b4_rwightman-23ab8bcd.pth",
    "efficientnet_b5": "efficientnet_b5_lukemelas-1a07897c.pth",
    "efficientnet_b6": "efficientnet_b6_lukemelas-24a108a5.pth",
    "efficientnet_b7": "efficientnet_b7_lukemelas-c5b4e57e.pth",
    "efficientnet_v2_s": "efficientnet_v2_s-dd5fe13b.pth",
    "efficientnet_v2_m": "efficientnet_v2_m-dc08266a.pth",
    "efficientnet_v2_l": "efficientnet_v2_l-59c71312.pth",
}
TORCHVISION_URL = "https://download.pytorch.org/models/"
_REPOSITORY = re.compile(r"(?:hf-hub:|hf_hub:)([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_BESIDE = ("config.json", "preprocessor_config.json")
_MAX_BYTES = 4 << 30
_PIECE = 1 << 20
_TIMEOUT_S = 30
_DIGITS = re.compile(r"-([0-9a-f]{8})\.")


def repository_folder(name: str) -> Path:
    """The local copy of "hf-hub:OWNER/NAME[@REVISION]": its configuration and its weights.

    Raises UsageError for a name that is none, MissingDependencyError, CheckpointError for what isn't there or can't be
    reached.
    """
    match = _REPOSITORY.fullmatch(name)
    if match is None:
        raise UsageError(f"{name!r:.100} names no repository; expected hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION")
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError("hf-hub: needs huggingface_hub: pip install 'edge-effnet[hub]'") from error
    repository, revision = match.groups()
    endpoint = os.environ.get("HF_ENDPOINT") or None
    away = False  # once it couldn't be reached, what is kept is all there is: asking on would take minutes

    def fetched(file: str) -> Path | None:
        nonlocal away
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, file, revision=revision, endpoint=endpoint, local_files_only=away
                )
            )
        except LocalEntryNotFoundError:  # a kind of the next one
            away = True
            return None
        except EntryNotFoundError:
            return None
        except Exception as error:  # its errors come from three libraries
            raise CheckpointError(
                f"{name}: {file} can't be had ({first_line(error)}); check the name, the network, or HF_HUB_OFFLINE"
            ) from error

    config = fetched(_BESIDE[0])
    fetched(_BESIDE[1])
    found = next((path for file in (*WEIGHTS, *NETWORKS) if (path := fetched(file)) is not None), None)
    if found is None and away:
        raise CheckpointError(f"{name}: can't be reached, and isn't kept; check the network, or HF_HUB_OFFLINE")
    if found is None:
        raise CheckpointError(f"{name}: holds none of {', '.join((*WEIGHTS, *NETWORKS))}; expected one of them")
    return (config or found).parent


def torchvision_file(name: str, *, base_url: str = TORCHVISION_URL, progress: Transferred | None = None) -> Path:
    """The local copy of the default weights of "torchvision:NAME", its digest checked.

    Kept where torch keeps it (TORCH_HOME). Raises UsageError for an unknown name, CheckpointError where it can't be
    had.
    """
    model = name.split(":", 1)[-1]
    if model not in TORCHVISION:
        raise UsageError(f"torchvision has no {model!r:.60} of this family; expected one of {', '.join(TORCHVISION)}")
    target = _cache() / TORCHVISION[model]
    if not target.is_file():
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise CheckpointError(f"{name}: isn't kept at {target}, and HF_HUB_OFFLINE forbids to fetch it")
        _download(base_url + target.name, target, progress)
    _check_digest(target)
    return target


def with_torchvision_facts(options: InputOptions, name: str) -> InputOptions:
    """The options for torchvision's default weights: its rules, ImageNet's labels, and B1's preparation, which is its
    second recipe's.
    """
    from edge_effnet.classifier import BUNDLED_MODEL
    from edge_effnet.formats import read_tflite

    model = name.split(":", 1)[-1]
    said = options.preprocessing
    if model == "efficientnet_b1":
        said = laid_under(said, PreprocessingOptions(resize=255, interpolation="bilinear"))
    found = FoundLabels("torchvision's default weights", read_tflite(BUNDLED_MODEL).labels or ())
    return replace(options, source=options.source or "torchvision", preprocessing=said, found_labels=(found,))


def _cache() -> Path:
    home = os.environ.get("TORCH_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch")
    return Path(home) / "hub" / "checkpoints"


def _download(url: str, target: Path, progress: Transferred | None) -> None:
    """Fetches a file beside `target` first, going on where an earlier attempt stopped."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        start = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            start = start if answer.status == 206 else 0
            total = start + int(answer.headers.get("Content-Length") or 0)
            if total > _MAX_BYTES:
                raise CheckpointError(f"{url}: {total:,} bytes; expected at most {_MAX_BYTES:,}")
            with open(part, "ab" if start else "wb") as file:
                while piece := answer.read(_PIECE):
                    file.write(piece)
                    start += len(piece)
                    if start > _MAX_BYTES:
                        raise CheckpointError(f"{url}: more than {_MAX_BYTES:,} bytes")
                    if progress is not None:
                        progress(start, total)
        if total and start != total:
            raise CheckpointError(f"{url}: ended at {start:,} of {total:,} bytes; run it again to go on from there")
        _check_digest(part)
        shutil.move(part, target)
    except (urllib.error.URLError, OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{url}: can't be fetched ({first_line(error)}); run it again to go on") from error


def _check_digest(path: Path) -> None:
    """Raises CheckpointError unless the SHA-256 begins with the digits in the file's name; a wrong file is removed."""
    expected = _DIGITS.search(path.name)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    if expected is not None and not digest.hexdigest().startswith(expected[1]):
        path.unlink()
        raise CheckpointError(
            f"{path}: its SHA-256 begins with {digest.hexdigest()[:8]}, its name says {expected[1]}; it was removed, "
            "run it again to fetch it anew"
        )
