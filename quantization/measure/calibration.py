"""Calibration photos: found, sampled by seed, decoded one at a time so that memory stays flat."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import CalibrationError, ImageError
from edge_effnet.images import find_images
from edge_effnet.preprocessing import ImageSource, Preprocessing, decode

CalibrationSource: TypeAlias = "str | os.PathLike[str] | Sequence[ImageSource]"
#: Where some photos turned out broken, fewer good ones than this are no basis.
MINIMUM_AFTER_BROKEN = 16


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Photos that can all be decoded, prepared as the network wants them each time they are iterated.

    sources: paths or images in the order they were drawn. broken: paths left out, with the reason.
    digest: SHA-256 over the photos' contents, in order. rules: what they were decoded by, and are each time.
    """

    sources: Sequence[Any]
    preprocessing: Preprocessing
    digest: str
    broken: tuple[str, ...] = ()
    rules: ImageRules = DEFAULT_RULES

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        """uint8[crop, crop, 3] of each photo."""
        for source in self.sources:
            yield self.preprocessing.pixels(decode(source, rules=self.rules))

    def subset(self, part: slice) -> CalibrationSet:
        """The photos of a slice, with the digest of the whole."""
        return replace(self, sources=self.sources[part])


@dataclass(frozen=True)
class _Drawn(Sequence[Any]):
    """Some of a sequence's items, fetched when asked for: a sequence that decodes on access stays as lazy as it was."""

    source: Sequence[Any]
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Any) -> Any:
        return _Drawn(self.source, self.indices[key]) if isinstance(key, slice) else self.source[self.indices[key]]


def draw_calibration_set(
    source: CalibrationSource, preprocessing: Preprocessing, *, limit: int, seed: int, rules: ImageRules = DEFAULT_RULES
) -> CalibrationSet:
    """At most `limit` photos of a folder (searched recursively) or sequence, drawn without replacement by `seed`.

    What is no image by its ending is ignored; an image that is broken, or that `rules` refuse, is left out and the next
    one drawn. Raises CalibrationError when nothing usable is left, or fewer than 16 where some were broken.
    """
    candidates = _candidates(source)
    if limit < 1:
        raise CalibrationError(f"calibration with {limit} photos; expected at least 1")
    order = np.random.default_rng(seed).permutation(len(candidates))
    digest = hashlib.sha256()
    good: list[int] = []
    broken: list[str] = []
    for index in order:
        if len(good) == limit:
            break
        try:
            digest.update(preprocessing.pixels(decode(candidates[index], rules=rules)).tobytes())
            good.append(int(index))
        except ImageError as error:
            broken.append(str(error))
    if not good or (broken and len(good) < MINIMUM_AFTER_BROKEN):
        raise CalibrationError(
            f"calibration: {len(good)} usable photos, {len(broken)} broken ({'; '.join(broken[:3])}); expected at "
            f"least {MINIMUM_AFTER_BROKEN}"
        )
    return CalibrationSet(_Drawn(candidates, tuple(good)), preprocessing, digest.hexdigest(), tuple(broken), rules)


def draw_further(
    drawn: CalibrationSet, source: CalibrationSource, *, limit: int, seed: int, more: int
) -> CalibrationSet:
    """Up to `more` photos that would have been drawn next, none of them in `drawn`; empty when the source has no more.

    limit, seed: as `drawn` was drawn; it's drawn again, since a broken photo shifts all that follow.
    """
    if len(drawn) < limit:
        return drawn.subset(slice(0, 0))
    return draw_calibration_set(source, drawn.preprocessing, limit=limit + more, seed=seed, rules=drawn.rules).subset(
        slice(limit, None)
    )


def _candidates(source: CalibrationSource) -> Sequence[Any]:
    if not isinstance(source, (str, os.PathLike)):
        found: Sequence[Any] = source if isinstance(source, Sequence) else list(source)
    elif not Path(source).is_dir():
        raise CalibrationError(
            f"calibration folder {source} does not exist; expected a folder with photos like those the model will see"
        )
    else:
        found = find_images(Path(source))
    if not found:
        raise CalibrationError(
            f"calibration: no photos in {source}; expected a folder with photos like those the model will see"
        )
    return found
