"""Why a model's answers look wrong: the usual mistakes in preparing photos, each tried on labelled ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.classifier import Classifier
from edge_effnet.datasets import LabelledImage
from edge_effnet.decoding import decode
from edge_effnet.engines import ENGINES, Session, open_session
from edge_effnet.errors import ImageError, UsageError
from edge_effnet.heads import class_logits
from edge_effnet.preprocessing import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    Triple,
    Values,
    resize_for_crop_pct,
)
from edge_effnet.tensor import InputTensor

#: Photos that are tried where nobody says how many, and standard errors from which a gain is more than chance.
DEFAULT_PHOTOS, _SURE = 200, 2.0
Change: TypeAlias = Callable[[Preprocessing], Preprocessing]
Pixels: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Suspect:
    """One mistake. kind: of one kind one alone can have been made. what: in words; option: what `export` takes."""

    kind: str
    what: str
    option: str
    change: Change


_STATISTICS: tuple[tuple[str, str, Triple, Triple], ...] = (
    ("ImageNet's mean and std", "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", IMAGENET_MEAN, IMAGENET_STD),
    ("pixels in -1..1", "--mean 0.5 --std 0.5", HALF, HALF),
    ("pixels in 0..1", "--mean 0 --std 1", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ("pixels in 0..255", "--mean 0 --std 0.00392157", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
)
_RESIZES: tuple[tuple[Any, Any], ...] = (
    ("pillow", "bilinear"),
    ("pillow", "bicubic"),
    ("pillow", "nearest"),
    ("tensorflow", "bilinear"),
    ("opencv", "bilinear"),
    ("torch", "bilinear"),
)


def suspects_of(own: Preprocessing) -> list[Suspect]:
    """What may have been meant instead of a preprocessing; nothing that comes to the same."""
    found = [*_channels(own), *_modes(own), *_statistics(own)]
    for resizer, kind in _RESIZES:
        change = partial(replace, resizer=resizer, interpolation=kind)
        option = f"--resizer {resizer} --interpolation {kind}"
        found.append(Suspect("resizer", f"resized by {resizer}'s {kind}", option, change))
    return [suspect for suspect in found if suspect.change(own) != own]


def _channels(own: Preprocessing) -> Iterator[Suspect]:
    if own.channels != "grey":
        other: Any = "bgr" if own.channels == "rgb" else "rgb"
        yield Suspect(
            "channels", f"{other.upper()} pixels", f"--channels {other}", lambda p: replace(p, channels=other)
        )


def _modes(own: Preprocessing) -> Iterator[Suspect]:
    height, width = own.size
    share = tuple(resize_for_crop_pct(side, 0.875) for side in own.size)
    yield Suspect("mode", "squashed", "--resize-mode squash", _resized("squash", own.crop))
    yield Suspect("mode", "the whole shorter side", "--resize-mode shorter --crop-pct 1", _resized("shorter", own.crop))
    yield Suspect("mode", "a crop of 0.875", "--resize-mode shorter --crop-pct 0.875", _resized("shorter", share))
    yield Suspect("mode", "padded to a square", "--resize-mode pad", _resized("pad", (height, width)))


def _resized(mode: Any, resize: Any) -> Change:
    return partial(replace, mode=mode, resize=resize)


def _statistics(own: Preprocessing) -> Iterator[Suspect]:
    for what, option, mean, std in _STATISTICS:
        values = [_of_depth(own, part) for part in (mean, std)]
        change = partial(replace, mean=values[0], std=values[1])
        yield Suspect("mean and std", what, option, change)


def _of_depth(own: Preprocessing, values: Triple) -> Values:
    return values if own.depth == 3 else (round(sum(values) / 3, 6),)


def diagnose(
    classifier: Classifier, photos: Sequence[LabelledImage], *, after_photo: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The JSON of `edge-effnet eval --diagnose`: accuracies in 0..1 on the photos, of the model as it is and with each
    suspect, best first.

    "gain" is against the model as it is, "sure" whether it is more than two standard errors of such a difference;
    "together": all sure ones, the best of each kind, at once. Raises UsageError where nothing is decided between
    classes, or no photo can be read.
    """
    own = classifier.preprocessing
    suspects = suspects_of(own)
    with closing(_opened(classifier)) as session:
        trial = _Trial(classifier, session)
        outputs, truths = trial.run([own, *(suspect.change(own) for suspect in suspects)], photos, after_photo)
        before, *after = (_right(found, truths) for found in outputs)
        rows = [_row(one.kind, one.what, one.option, before, right) for one, right in zip(suspects, after, strict=True)]
        for what, option, found in _reordered(classifier, outputs[0]):
            rows.append(_row("labels", what, option, before, _right(found, truths)))
        rows.sort(key=lambda row: -row["gain"])
        together = _together(trial, _best_of_each_kind(rows, suspects), photos, before)
    return {
        "model": str(classifier.model_path),
        "engine": classifier.engine,
        "images": len(truths),
        "top1": float(before.mean()),
        "suspects": rows,
        "together": together,
    }


def _together(
    trial: _Trial, best: Sequence[Suspect], photos: Sequence[LabelledImage], before: npt.NDArray[np.bool_]
) -> dict[str, Any] | None:
    """All that is sure at once, where that is more than one."""
    if len(best) < 2:
        return None
    changed = reduce(lambda made, suspect: suspect.change(made), best, trial.classifier.preprocessing)
    (found,), truths = trial.run([changed], photos, lambda: None)
    what, option = (
        words.join(getattr(one, name) for one in best) for words, name in ((" + ", "what"), (" ", "option"))
    )
    return _row("together", what, option, before, _right(found, truths))


def _opened(classifier: Classifier) -> Session:
    name = classifier.engine
    return open_session(classifier.model_path, file_format=ENGINES[name][0], engine=name, threads=classifier.threads)


@dataclass(frozen=True)
class _Trial:
    """Runs the file on photos prepared in other ways than its own."""

    classifier: Classifier
    session: Session

    def run(
        self, ways: Sequence[Preprocessing], photos: Iterable[LabelledImage], after_photo: Callable[[], None]
    ) -> tuple[list[npt.NDArray[np.int64]], list[frozenset[int]]]:
        """(the class of each photo, one array a way; the true classes). Photos that can't be read don't count."""
        tensors = [InputTensor(way, self.session, known=self.classifier.metadata is not None) for way in ways]
        found: list[list[int]] = [[] for _ in ways]
        truths = []
        for item in photos:
            try:
                image = decode(item.path, rules=self.classifier.image_rules)
            except ImageError:
                continue
            finally:
                after_photo()
            truths.append(item.classes)
            for answers, way, tensor in zip(found, ways, tensors, strict=True):
                pixels = way.pixels(image)
                answers.append(self._class(tensor.fill(self._seen(way, pixels) if tensor.raw else pixels)))
        if not truths:
            raise UsageError("none of the photos can be read; expected labelled photos to try preparations on")
        return [np.array(answers, np.int64) for answers in found], truths

    def _class(self, tensor: Any) -> int:
        outputs = np.asarray(self.session.run(tensor), np.float32).reshape(-1)
        return int(class_logits(self.classifier.head, outputs, self.classifier.num_classes).argmax())

    def _seen(self, way: Preprocessing, pixels: Pixels) -> Pixels:
        """Pixels that a file with its normalisation inside makes of it what `way` would: as far as 0..255 goes."""
        own = self.classifier.preprocessing
        if (own.mean, own.std) == (way.mean, way.std):
            return pixels
        columns = []
        for channel in range(own.depth):
            values = (np.arange(256) / 255 - way.mean[channel]) / way.std[channel]
            table = np.rint(255 * (values * own.std[channel] + own.mean[channel])).clip(0, 255).astype(np.uint8)
            columns.append(table[pixels[:, :, channel]])
        return np.stack(columns, axis=-1)


def _right(found: npt.NDArray[np.int64], truths: Sequence[frozenset[int]]) -> npt.NDArray[np.bool_]:
    return np.array([int(one) in truth for one, truth in zip(found, truths, strict=True)])


def _reordered(
    classifier: Classifier, found: npt.NDArray[np.int64]
) -> Iterator[tuple[str, str, npt.NDArray[np.int64]]]:
    """The model's own answers, its classes called otherwise."""
    for shift, what in ((1, "one later"), (-1, "one earlier")):
        yield (
            f"every label {what} in the list",
            "--labels FILE, where the list begins at another class",
            (found + shift) % classifier.num_classes,
        )
    labels = classifier.labels
    if labels is not None and len(set(labels)) == len(labels) and list(labels) != sorted(labels):
        places = np.array([labels.index(label) for label in sorted(labels)])
        yield "labels in alphabetical order, as ImageFolder sorts", "--labels FILE, sorted", places[found]


def _row(
    kind: str, what: str, option: str, before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return {
        "kind": kind,
        "what": what,
        "option": option,
        "top1": float(after.mean()),
        "gain": (gained - lost) / len(before),
        "sure": gained - lost > _SURE * math.sqrt(gained + lost),
    }


def _best_of_each_kind(rows: Sequence[dict[str, Any]], suspects: Sequence[Suspect]) -> list[Suspect]:
    found: dict[str, Suspect] = {}
    for row in rows:
        suspect = next((one for one in suspects if one.what == row["what"]), None)
        if row["sure"] and suspect is not None:
            found.setdefault(suspect.kind, suspect)
    return list(found.values())
