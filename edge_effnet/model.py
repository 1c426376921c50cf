"""An opened model file: what its network gives for a photo, before classes are made of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_effnet.decoding import ChannelOrder, ImageSource
from edge_effnet.formats import ModelFile
from edge_effnet.formats.derived import feature_tensor
from edge_effnet.heads import Head
from edge_effnet.runner import PhotoRunner


class OpenModel:
    """The numbers of a network: `Classifier` without classes. head: what the output means."""

    head: Head
    _runner: PhotoRunner

    @property
    def engine(self) -> str:
        """Name of the engine that runs the file."""
        return self._runner.session.engine

    @property
    def engine_version(self) -> str:
        """Package and version of the engine."""
        return self._runner.session.version

    @property
    def timing_ms(self) -> Mapping[str, float]:
        """Milliseconds that the last photo took: decode, preprocess, inference, postprocess."""
        return dict(self._runner.timing)

    def logits(
        self, image: ImageSource, *, channels: ChannelOrder = "rgb", width: int | None = None
    ) -> npt.NDArray[np.float32]:
        """float32[C]: the network's output. Raises EngineError for a result that is not finite."""
        return self.outputs_of(image, channels, width)[0].reshape(-1)

    def features(
        self, image: ImageSource, *, channels: ChannelOrder = "rgb", width: int | None = None
    ) -> npt.NDArray[np.float32]:
        """float32[D], the pooled features, which the last dense layer reads; `logits` where the file gives them.

        The first call opens the file once more, with the features as a second output. Raises ModelFileError for a
        network that doesn't end in features and one dense layer, or for a file that has changed.
        """
        if self.head.kind == "features":
            return self.logits(image, channels=channels, width=width)
        name = feature_tensor(self.contents()).name
        return self.inner(image, (name,), channels=channels, width=width)[1].reshape(-1)

    def inner(
        self, image: ImageSource, names: tuple[str, ...], *, channels: ChannelOrder = "rgb", width: int | None = None
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """The output, then these tensors inside the network, of one run; those of integers as what they stand for."""
        self._runner.give(names)
        output, *found = self.outputs_of(image, channels, width)
        return (output, *(found[self._runner.inner.index(name)] for name in names))

    def contents(self) -> ModelFile:
        """The file read anew; raises ModelFileError where it is another one by now."""
        return self._runner.contents()

    def outputs_of(
        self, image: ImageSource, channels: ChannelOrder, width: int | None
    ) -> tuple[npt.NDArray[np.float32], ...]:
        """The output and the inner tensors that are given, of one run."""
        return self._runner.run(image, channels=channels, width=width)
