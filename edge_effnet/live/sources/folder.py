"""A folder of photos as a source."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from edge_effnet.errors import ImageError, SourceError
from edge_effnet.images import find_images
from edge_effnet.live.frames import Delivery, Frame, taken_now
from edge_effnet.live.sources.base import Source, delivery_at
from edge_effnet.preprocessing import decode

#: What the photos of a folder are.
Photos: TypeAlias = Literal["scenes", "frames"]
_LOG = logging.getLogger("edge_effnet.live")


class FolderSource(Source):
    """The photos of a folder and its subfolders, sorted by path; broken ones are left out and said.

    Without a rate, or as scenes, none is left out for time. photos: "scenes", each stands for itself (`Frame.still`),
    or "frames" that follow each other. rate: photos a second; None takes each as soon as the one before is classified.
    loop: begin anew at the end, new
    photos included. Raises SourceError when there is none that can be read, at once.
    """

    def __init__(
        self, folder: Path, *, rate: float | None = None, loop: bool = False, photos: Photos = "scenes"
    ) -> None:
        self._folder = folder
        self._still = photos == "scenes"
        self.rate, self.delivery = rate, Delivery.EVERY if self._still else delivery_at(rate)
        self._loop = loop
        self._frames = self._all()
        self._first: Frame | None = next(self._frames)

    def __next__(self) -> Frame:
        first, self._first = self._first, None
        return next(self._frames) if first is None else first

    def close(self) -> None:
        """Gives no more photos."""
        self._frames.close()

    def _all(self) -> Generator[Frame, None, None]:
        yield from self._once()
        while self._loop:
            yield from self._once()

    def _once(self) -> Iterator[Frame]:
        given = 0
        for path in find_images(self._folder):
            try:
                image = np.asarray(decode(path))
            except ImageError as error:
                _LOG.warning("left out: %s", error)
                continue
            given += 1
            yield replace(taken_now(image, name=str(path)), still=self._still)
        if not given:
            raise SourceError(f"{self._folder} holds no photos that can be read; expected image files in it or below")
