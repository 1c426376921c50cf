"""The measuring process for our own files: one inference, without preparing a photo or reading labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_effnet.engines import open_session


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Runs `folder`/`model` on one thread, on the pixels or the normalised image in `folder`/arrays.npz."""
    folder = Path(settings["folder"])
    path = folder / settings["model"]
    session = open_session(path, file_format=path.suffix.lstrip("."), threads=1)
    arrays = np.load(folder / "arrays.npz")
    nchw = arrays["image"] if session.input.dtype == "float32" else arrays["pixels"]
    tensor = np.ascontiguousarray(nchw if session.layout == "nchw" else nchw.transpose(0, 2, 3, 1))
    return lambda: session.run(tensor)
