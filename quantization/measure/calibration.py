"""Calibration photos: found, sampled by seed, decoded once on all cores, and kept as the network wants them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import CalibrationError, ImageError
from edge_effnet.images import find_images
from edge_effnet.parallel import map_in_order
from edge_effnet.preprocessing import ImageSource, Preprocessing, decode
from edge_effnet.quantization.measure.squares import PreparedSquares
from edge_effnet.quantization.records import Progress
from edge_effnet.system import available_cores

CalibrationSource: TypeAlias = "str | os.PathLike[str] | Sequence[ImageSource]"
#: Where some photos turned out broken, fewer good ones than this are no basis.
MINIMUM_AFTER_BROKEN = 16


class _Drawing:
    """Photos drawn from candidates in the order of a seed, as many as were asked for so far, each decoded once."""

    def __init__(
        self, candidates: Sequence[Any], preprocessing: Preprocessing, *, seed: int, rules: ImageRules, workers: int
    ) -> None:
        self.candidates, self.preprocessing, self.rules = candidates, preprocessing, rules
        self._workers = workers
        self.good: list[int] = []
        self.broken: list[str] = []
        self.squares = PreparedSquares()
        self._left = map(int, np.random.default_rng(seed).permutation(len(candidates)))

    def extend_to(self, count: int, *, progress: Progress | None = None) -> None:
        """Draws until there are `count` good photos, or nothing is left; no photo more than that is looked at."""
        while (missing := count - len(self.good)) > 0 and (drawn := tuple(islice(self._left, missing))):
            items = ((index, self.candidates[index]) for index in drawn)
            for index, found in map_in_order(self._prepare, items, workers=self._workers):
                self._keep(index, found)
                if progress is not None:
                    progress("decoding", len(self.good), count)

    def digest(self, count: int) -> str:
        """SHA-256 over the first photos' contents, in order."""
        digest = hashlib.sha256()
        for index in range(count):
            digest.update(self.squares[index].data)
        return digest.hexdigest()

    def _prepare(self, drawn: tuple[int, Any]) -> tuple[int, npt.NDArray[np.uint8] | ImageError]:
        index, source = drawn
        try:
            return index, self.preprocessing.pixels(decode(source, rules=self.rules))
        except ImageError as error:
            return index, error

    def _keep(self, index: int, found: npt.NDArray[np.uint8] | ImageError) -> None:
        if isinstance(found, ImageError):
            self.broken.append(str(found))
        else:
            self.squares.append(found)
            self.good.append(index)


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Photos that were drawn, as the network wants them; iterating them decodes nothing.

    sources: paths or images in the order they were drawn. squares: uint8[crop, crop, 3] of each, by index.
    broken: paths left out, with the reason. digest: SHA-256 over the photos' contents, in order. rules: what they were
    decoded by. drawing: where `draw_further` goes on.
    """

    sources: Sequence[Any]
    squares: Sequence[npt.NDArray[np.uint8]]
    preprocessing: Preprocessing
    digest: str
    broken: tuple[str, ...] = ()
    rules: ImageRules = DEFAULT_RULES
    drawing: _Drawing | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        """uint8[crop, crop, 3] of each photo, not to be written to."""
        return iter(self.squares)

    def subset(self, part: slice) -> CalibrationSet:
        """The photos of a slice, with the digest of the whole."""
        return replace(self, sources=self.sources[part], squares=self.squares[part])


@dataclass(frozen=True)
class _Drawn(Sequence[Any]):
    """Some of a sequence's items, fetched when asked for: a sequence that decodes on access stays as lazy as it was."""

    source: Any
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Any) -> Any:
        return _Drawn(self.source, self.indices[key]) if isinstance(key, slice) else self.source[self.indices[key]]


def draw_calibration_set(
    source: CalibrationSource,
    preprocessing: Preprocessing,
    *,
    limit: int,
    seed: int,
    rules: ImageRules = DEFAULT_RULES,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CalibrationSet:
    """At most `limit` photos of a folder (searched recursively) or sequence, drawn without replacement by `seed`.

    What is no image by its ending is ignored; an image that is broken, or that `rules` refuse, is left out and the next
    one drawn. workers: threads that decode, by default as many as there are cores; a sequence's items are fetched by
    one at a time. Raises CalibrationError when nothing usable is left, or fewer than 16 where some were broken.
    """
    if limit < 1:
        raise CalibrationError(f"calibration with {limit} photos; expected at least 1")
    candidates = _candidates(source)
    drawing = _Drawing(candidates, preprocessing, seed=seed, rules=rules, workers=workers or available_cores())
    drawing.extend_to(min(limit, len(candidates)), progress=progress)
    good, broken = len(drawing.good), tuple(drawing.broken)
    if not good or (broken and good < MINIMUM_AFTER_BROKEN):
        raise CalibrationError(
            f"calibration: {good} usable photos, {len(broken)} broken ({'; '.join(broken[:3])}); expected at "
            f"least {MINIMUM_AFTER_BROKEN}"
        )
    return _part(drawing, range(good))


def draw_further(drawn: CalibrationSet, *, more: int) -> CalibrationSet:
    """Up to `more` photos that would have been drawn next, none of them in `drawn`; empty when the source has no more.

    drawn: from `draw_calibration_set`. What was decoded for an earlier call isn't decoded again.
    """
    drawing, count = drawn.drawing, len(drawn)
    if drawing is None:
        return drawn.subset(slice(0, 0))
    drawing.extend_to(count + more)
    return _part(drawing, range(count, min(count + more, len(drawing.good))))


def part(drawn: CalibrationSet, first: int) -> tuple[CalibrationSet, CalibrationSet]:
    """The first photos of a set that was drawn, and the others, each with a digest of its own end."""
    if drawn.drawing is None:
        return drawn.subset(slice(0, first)), drawn.subset(slice(first, None))
    return _part(drawn.drawing, range(first)), _part(drawn.drawing, range(first, len(drawn)))


def _part(drawing: _Drawing, part: range) -> CalibrationSet:
    return CalibrationSet(
        sources=_Drawn(drawing.candidates, tuple(drawing.good[part.start : part.stop])),
        squares=_Drawn(drawing.squares, part),
        preprocessing=drawing.preprocessing,
        digest=drawing.digest(part.stop),
        broken=tuple(drawing.broken),
        rules=drawing.rules,
        drawing=drawing,
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
