"""The features of a folder's photos: from the network, or from what an earlier run kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import path_of
from edge_effnet.classifier import Classifier
from edge_effnet.errors import ImageError, ModelFileError
from edge_effnet.formats import ModelFile
from edge_effnet.formats.dense import FeatureMap
from edge_effnet.formats.derived import feature_tensor
from edge_effnet.learning.cache import FeatureCache, cache_key, default_folder
from edge_effnet.learning.photos import LabelledPhoto, PhotoFolder, with_photos

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Depths:
    """What a network gives of a photo: its pooled features, `first` of them, then the mean of each of these maps."""

    first: int
    maps: tuple[FeatureMap, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many each gives."""
        return (self.first, *(found.size for found in self.maps))

    def of(self, classifier: Classifier, path: Path, *, name: str) -> Array:
        """float32[sum of sizes] of a photo, of one run. name: of the pooled features' tensor. Raises ImageError."""
        if not self.maps:
            return classifier.features(path)
        gives_features = classifier.head.kind == "features"
        names = (() if gives_features else (name,)) + tuple(found.name for found in self.maps)
        output, *inner = classifier.inner(path, names)
        first = output if gives_features else inner.pop(0)
        return np.concatenate(
            [first.reshape(-1), *(found.mean(values[0]) for found, values in zip(self.maps, inner, strict=True))]
        )


def read_features(
    found: PhotoFolder,
    contents: ModelFile,
    depths: Depths,
    *,
    openers: Sequence[Callable[[], Classifier]],
    cache: str | Path | None,
    after_photo: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[PhotoFolder, list[Array]]:
    """(the photos that can be read, their features by each classifier, float16[N, D]: they are most of the memory, and
    an int8 network's are no finer).

    openers: give the base with each way of preparing photos. cache: folder for features, by default the user's.
    after_photo: is called with how many of how many photos are done. Raises ModelFileError for features out of range.
    """
    name, width = feature_tensor(contents).name, sum(depths.sizes)
    tables = [np.empty((len(found.photos), width), np.float16) for _ in openers]
    kept: list[LabelledPhoto] = []
    left_out = list(found.left_out)
    with ExitStack() as stack:
        classifiers = [stack.enter_context(opener()) for opener in openers]
        caches = [stack.enter_context(_cache(cache, classifier, depths)) for classifier in classifiers]
        for index, photo in enumerate(found.photos):
            after_photo(index, len(found.photos))
            try:
                for table, classifier, known in zip(tables, classifiers, caches, strict=True):
                    table[len(kept)] = _narrowed(_row(classifier, known, photo, depths, name))
            except ImageError as error:
                left_out.append(str(error))
                continue
            kept.append(photo)
    if not all(np.isfinite(table[: len(kept)]).all() for table in tables):
        most = int(np.finfo(np.float16).max)
        raise ModelFileError(
            f"{contents.name}: gives features beyond ±{most:,}; expected a base whose features stay within"
        )
    return with_photos(found, kept, left_out), [table[: len(kept)] for table in tables]


def _narrowed(row: Array) -> Array:
    with np.errstate(over="ignore"):  # seen by what follows
        return row.astype(np.float16)


def _row(classifier: Classifier, cache: FeatureCache, photo: LabelledPhoto, depths: Depths, name: str) -> Array:
    row = cache.get(photo.digest)
    if row is None:
        row = depths.of(classifier, photo.path, name=name)
        cache.put(photo.digest, row)
    return row


def _cache(folder: str | Path | None, classifier: Classifier, depths: Depths) -> FeatureCache:
    document = classifier.metadata
    key = cache_key(
        base=None if document is None else document.weights_sha256,
        preprocessing=classifier.preprocessing.to_dict(),
        engine=classifier.engine_version,
        decoding=classifier.decoding,
        depths=[found.name for found in depths.maps],
    )
    return FeatureCache(default_folder() if folder is None else path_of(folder, "cache"), key, sum(depths.sizes))
