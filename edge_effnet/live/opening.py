"""Whatever a program may call a source, as something that can be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.live.frames import FrameSource, Turn
from edge_effnet.live.sources import IterableSource, SourceOpener, source_opener, turned
from edge_effnet.pixel_arrays import ChannelOrder

#: A name of `source_opener`, what it gives, a source or a function that opens one, or an iterable of uint8[H, W, 3] RGB
#: arrays.
LiveSource: TypeAlias = (
    "str | Path | SourceOpener | FrameSource | Callable[[], FrameSource] | Iterable[npt.NDArray[Any]]"
)


def live_opener(source: LiveSource, *, turn: Turn, channels: ChannelOrder, width: int | None) -> SourceOpener:
    """turn: how the camera is mounted. channels, width: of an iterable's arrays. Raises UsageError for what is none of
    these.
    """
    if isinstance(source, (str, Path)):
        return source_opener(str(source), turn=turn)
    if isinstance(source, SourceOpener):
        return turned(source, turn)
    if callable(source):
        return turned(SourceOpener("camera", source), turn)
    if not isinstance(source, Iterable):
        raise UsageError(
            f"source is a {type(source).__name__}; expected a name, a function that opens a source, or an iterable of "
            "arrays"
        )
    if hasattr(source, "delivery"):
        opened = cast("FrameSource", source)
    else:
        opened = IterableSource(source, channels=channels, width=width)
    return turned(SourceOpener("frames of the program", lambda: opened), turn)
