"""Files that `edge-effnet learn` made, as inputs."""

from __future__ import annotations

from collections.abc import Iterable

from edge_effnet.errors import UsageError
from edge_effnet.formats.dense import JOINED


def check_learned(tensors: Iterable[str], *, name: str) -> None:
    """Raises UsageError for a learned file whose last layer reads maps inside the network, which isn't exported.

    tensors: the names of the file's.
    """
    if JOINED in tensors:
        raise UsageError(
            f"{name}: was learned from maps inside its network, and a last layer that reads those isn't exported; "
            "export the base it was learned from, and learn from what comes out: edge-effnet learn PHOTOS --base FILE"
        )
