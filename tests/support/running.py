"""Running an exported file through the runtime's own engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines import open_session


def run_file(path: Path, image_nchw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """float32[C] for one image [1, 3, S, S] in what the file takes, in the engine for its ending."""
    session = open_session(path, file_format=path.suffix[1:], threads=1)
    try:
        tensor = image_nchw.transpose(0, 2, 3, 1) if session.layout == "nhwc" else image_nchw
        return np.array(session.run(np.ascontiguousarray(tensor)))[0]
    finally:
        session.close()
