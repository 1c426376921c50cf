"""`learn`: from folders of photos to a model file that knows them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import fraction, path_of
from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.decoding import DEFAULT_RULES, ImageRules
from edge_effnet.errors import UsageError
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import ModelFile, read_model_file
from edge_effnet.formats.dense import DenseHead, FeatureMap
from edge_effnet.formats.derived import feature_tensor, head_of, inner_maps, with_head
from edge_effnet.heads import Head
from edge_effnet.labels import UNKNOWN
from edge_effnet.learning.features import Depths, read_features
from edge_effnet.learning.head import Trained
from edge_effnet.learning.judging import Doubt, judge, not_judged
from edge_effnet.learning.kept import beside
from edge_effnet.learning.photos import PhotoFolder, read_photos
from edge_effnet.learning.references import FEWEST_HELD_OUT, Known, learn_references
from edge_effnet.learning.report import report_page
from edge_effnet.learning.views import best_view, views_of
from edge_effnet.metadata import ModelDocument
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.unknown import REFERENCES_NAME
from edge_effnet.version import __version__

Array = npt.NDArray[Any]
#: Is told (stage, share of it that is done, 0..1); what it raises ends the run, and nothing is written.
Progress = Callable[[str, float], None]
#: What becomes of the classes that the base has.
BaseClasses: TypeAlias = Literal["dropped", "kept"]
STAGES = ("photos", "features", "learning", "writing")


@dataclass(frozen=True)
class Learned:
    """What was learned. path: the file. labels: the new classes; kept: how many of the base's are there, too.
    photos: label → how many it was learned from.

    accuracy: share of photos that a head recognises which hasn't seen them, 0..1, or None where no class has two
    moments; interval: (low, high), its 95 % interval. confusion: [true][found], of the same held-out photos. threshold:
    similarity below which a photo is unknown, or None. doubtful: photos that may lie in the wrong folder. wants: label
    → what ten more photos of it might add to the accuracy, most first. sha256: of the file. photos_sha256: of the
    labels and digests of all photos. left_out: what wasn't used and why, a line each.
    """

    path: Path
    labels: tuple[str, ...]
    photos: Mapping[str, int]
    accuracy: float | None
    interval: tuple[float, float] | None
    confusion: tuple[tuple[int, ...], ...]
    threshold: float | None
    doubtful: tuple[Doubt, ...]
    wants: Mapping[str, float]
    kept: int
    base: str
    penalty: float
    sha256: str
    photos_sha256: str
    left_out: tuple[str, ...]


def learn(
    photos: str | Path,
    output: str | Path,
    *,
    base: str | Path | None = None,
    unknown: float | None = 0.05,
    base_classes: BaseClasses = "dropped",
    cache: str | Path | None = None,
    report: str | Path | None = None,
    progress: Progress | None = None,
    engine: str = "auto",
    threads: int | None = None,
    image_rules: ImageRules = DEFAULT_RULES,
) -> Learned:
    """Writes a model file like `base` (None: the bundled one) that tells the classes of a folder apart.

    photos: a folder that holds a folder of photos for each class; one called "none" or "unknown" holds what is none of
    them. output: the file to write, whole or not at all. unknown: share of own photos that may be called unknown, or
    None for a file that never says so. base_classes: "kept" gives the base's classes beside the new ones; what is none
    of them is then for the base to say, and nothing is unknown. report: a page to write, too. cache: folder for
    features, by default the user's.
    progress: see `Progress`.
    Raises UsageError for folders that can't be learned from, ModelFileError for a base that doesn't end in features
    and a dense layer, OutputError where the file can't be written.
    """
    folder, path = path_of(photos, "photos"), path_of(output, "output")
    origin = BUNDLED_MODEL if base is None else path_of(base, "base")
    share = _share_of(unknown, base_classes)
    page = None if report is None else path_of(report, "report")
    check_outputs({"-o": path, "--report": page}, {"the base": origin, "a photo or a class's name": folder})
    for written in (path, *(() if page is None else (page,))):
        require_writable_folder(written)
    tell = progress or (lambda _stage, _share: None)
    contents = read_model_file(origin)
    document = _document_of(contents, path)
    found = read_photos(folder, most_bytes=image_rules.max_bytes, after_photo=partial(_told, tell, "photos"))
    views, depths = _looked_at(contents, document, base_classes)
    opener = partial(Classifier, origin, engine=engine, threads=threads, image_rules=image_rules)
    found, rows = read_features(
        found,
        contents,
        depths,
        openers=[partial(opener, preprocessing=view) for view in views],
        cache=cache,
        after_photo=partial(_told, tell, "features"),
    )
    classes = np.array([found.labels.index(photo.label) for photo in found.photos], np.int64)
    best = best_view(views, rows, classes, sizes=depths.sizes, after_fit=partial(_told, tell, "learning"))
    document = replace(document, preprocessing=best.preprocessing)
    made = _made(found, best.features, classes, best.trained, share)
    if base_classes == "kept":
        head, labels = beside(_base_head(contents), document.labels, best.trained, best.features, found.labels)
        made = replace(made, head=head, labels=labels)
    learned = _written(contents, document, best.trained, classes, replace(made, maps=depths.maps), path, tell)
    if page is not None:
        write_atomically(page, report_page(learned, image_rules=image_rules).encode("utf-8"))
    return learned


def _share_of(unknown: float | None, base_classes: BaseClasses) -> float | None:
    """The share of own photos that may be unknown; None where nothing is. Raises UsageError for what can't be meant."""
    share = None if unknown is None else fraction(unknown, "unknown")
    if base_classes not in get_args(BaseClasses):
        raise UsageError(f"base_classes is {base_classes!r:.40}; expected {' or '.join(get_args(BaseClasses))}")
    return share if base_classes == "dropped" else None


def _told(tell: Progress, stage: str, done: int, total: int) -> None:
    tell(stage, done / total)


def _looked_at(
    contents: ModelFile, document: ModelDocument, base_classes: BaseClasses
) -> tuple[tuple[Preprocessing, ...], Depths]:
    """The ways of looking at a photo, and what of the network is; with the base's classes kept, what those look at."""
    first = feature_tensor(contents).size
    if base_classes == "kept":
        return (document.preprocessing,), Depths(first, ())
    return views_of(document.preprocessing), Depths(first, inner_maps(contents))


@dataclass(frozen=True, eq=False)
class _Made:
    """What the file holds. labels: of all its classes; found: the photos it was learned from; maps: whose means the
    head reads, too.
    """

    head: DenseHead
    labels: tuple[str, ...]
    known: Known | None
    found: PhotoFolder
    maps: tuple[FeatureMap, ...] = ()


def _made(found: PhotoFolder, features: Array, classes: Array, trained: Trained, share: float | None) -> _Made:
    """The new classes alone, with references where a share of photos may be unknown and enough are held out."""
    found = replace(found, left_out=(*found.left_out, *not_judged(trained, classes, found.labels)))
    known = None if share is None else _known(features, classes, trained, found.labels, share)
    if share is not None and known is None:
        few = f"what is unknown: too few photos can be held out to tell; expected at least {FEWEST_HELD_OUT}"
        found = replace(found, left_out=(*found.left_out, few))
    return _Made(trained.head, found.labels, known, found)


def _known(features: Array, classes: Array, trained: Trained, labels: tuple[str, ...], share: float) -> Known | None:
    """The references of the own classes."""
    own = classes != labels.index(UNKNOWN) if UNKNOWN in labels else np.ones(len(classes), bool)
    answers = np.argmax(np.nan_to_num(trained.held_out[own], nan=-np.inf), axis=1)
    already = answers == labels.index(UNKNOWN) if UNKNOWN in labels else np.zeros(own.sum(), bool)
    return learn_references(
        features[own],
        classes[own],
        groups=trained.groups[own],
        fold=trained.fold[own],
        share=share,
        already=already & (trained.fold[own] >= 0),
    )


def _document_of(contents: ModelFile, output: Path) -> ModelDocument:
    if contents.document is None:
        raise UsageError(f"{contents.name} was made by another tool; expected a base file of edge-effnet's")
    if output.suffix != f".{contents.format}":
        raise UsageError(
            f"output {output} ends in {output.suffix or 'nothing'}; expected .{contents.format} as the base"
        )
    feature_tensor(contents)
    return contents.document


def _base_head(contents: ModelFile) -> DenseHead:
    head = head_of(contents)
    if head is None or contents.document is None or contents.document.head.kind != "softmax":
        raise UsageError(f"{contents.name} has no classes that exclude each other; there are none to keep")
    return head


def _written(
    contents: ModelFile,
    base: ModelDocument,
    trained: Trained,
    classes: Array,
    made: _Made,
    path: Path,
    tell: Progress,
) -> Learned:
    tell("writing", 0.0)
    found, known = made.found, made.known
    judged = judge(trained, classes, found.labels, found.photos)
    counts = {label: int((classes == index).sum()) for index, label in enumerate(found.labels)}
    digest = photos_digest(found)
    document = replace(
        base,
        num_classes=len(made.labels),
        labels=made.labels,
        accuracy=None,
        head=Head("softmax", base.head.output if base.head.kind == "softmax" else "logits"),
        created_by=f"edge-effnet {__version__}",
        schema_version=0,
        weights_sha256=None,
        unknown=None if known is None else known.rule,
        extra={
            **base.extra,
            "learned": {
                "base_sha256": base.weights_sha256,
                "photos": counts,
                "photos_sha256": digest,
                "accuracy": judged.accuracy,
                "interval": None if judged.interval is None else list(judged.interval),
                "penalty": trained.penalty,
            },
        },
    )
    packed = {} if known is None else {REFERENCES_NAME: known.packed}
    data = with_head(contents, made.head, document, maps=made.maps, packed=packed)
    tell("writing", 0.5)
    write_atomically(path, data)
    return Learned(
        path=path,
        labels=found.labels,
        photos=counts,
        accuracy=judged.accuracy,
        interval=judged.interval,
        confusion=judged.confusion,
        doubtful=judged.doubtful,
        wants=judged.wants,
        threshold=None if known is None else known.rule.threshold,
        kept=len(made.labels) - len(found.labels),
        base=contents.name,
        penalty=trained.penalty,
        sha256=hashlib.sha256(data).hexdigest(),
        photos_sha256=digest,
        left_out=found.left_out,
    )


def photos_digest(found: PhotoFolder) -> str:
    """SHA-256 of all labels and photo digests, whatever the files are called."""
    lines = "".join(f"{photo.digest}  {photo.label}\n" for photo in found.photos)
    return hashlib.sha256(lines.encode()).hexdigest()
