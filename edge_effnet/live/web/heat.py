"""What in the live picture speaks for its class, as JPEG: computed when someone asks, by a network of its own."""

from __future__ import annotations

import threading

from edge_effnet.classifier import Classifier
from edge_effnet.heatmap import HeatmapMaker, heatmap_jpeg
from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.frames import Frame


class Heatmaps:
    """The newest classified frame's heat map. Its network is opened at the first call, once for each that comes into
    use, on one thread, beside the one that classifies.
    """

    def __init__(self, live: LiveClassifier) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._original: Classifier | None = None
        self._twin: Classifier | None = None
        self._maker: HeatmapMaker | None = None
        self._made: tuple[Frame, bytes] | None = None

    def current(self) -> bytes | None:
        """A JPEG of the last frame that was classified; None before the first.

        Raises ModelFileError for a network that doesn't end in global pooling and one dense layer.
        """
        reading = self._live.latest()
        if reading is None:
            return None
        with self._lock:
            if self._made is None or self._made[0] is not reading.frame:
                self._made = reading.frame, self._jpeg(reading.frame)
            return self._made[1]

    def close(self) -> None:
        """Lets go of the network."""
        with self._lock:
            if self._twin is not None:
                self._twin.close()
            self._original = self._twin = self._maker = None

    def _jpeg(self, frame: Frame) -> bytes:
        twin, maker = self._opened()
        image = frame.image if self._live.region is None else self._live.region.crop(frame.image)
        return heatmap_jpeg(twin, image, maker.of(image))

    def _opened(self) -> tuple[Classifier, HeatmapMaker]:
        """A twin of the network that classifies now."""
        original = self._live.classifier
        if self._twin is None or self._maker is None or self._original is not original:
            if self._twin is not None:
                self._twin.close()
            self._twin = original.twin(threads=1)
            self._original, self._maker = original, HeatmapMaker(self._twin)
        return self._twin, self._maker
