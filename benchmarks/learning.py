"""How good `learn` is: accuracy by photos a class, unknown, seconds, bytes, on folders of your own.

    python -m edge_effnet.benchmarks.learning TRAIN VALIDATION [--none PHOTOS] [--base FILE] [-o RESULTS.json]

TRAIN and VALIDATION hold a folder a class; PHOTOS are of none of them. k photos a class are drawn by seed; each figure
is of all of VALIDATION, by a head that `edge_effnet.learning` learned from those k alone. Class means by cosine stand
beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet import Classifier
from edge_effnet.benching.serving import peak_rss_mb
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.evaluation import auroc
from edge_effnet.formats import read_model_file
from edge_effnet.formats.derived import feature_tensor, inner_maps
from edge_effnet.images import find_images
from edge_effnet.learning import learn
from edge_effnet.learning.features import Depths, read_features
from edge_effnet.learning.folds import unit_rows
from edge_effnet.learning.photos import PhotoFolder, read_photos
from edge_effnet.learning.views import best_view, views_of
from edge_effnet.machine import machine_facts
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.reading import read_file

Array = npt.NDArray[Any]
SIZES: tuple[int | None, ...] = (1, 5, 20, None)
SEEDS = 5
_MOST_BYTES = 64 << 20
_ROUNDS = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, and writes the results as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--none", type=Path, help="photos of none of the classes")
    parser.add_argument("--base", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="photos a class, as 1,5,all")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args(argv)
    found = measure(
        arguments.train, arguments.validation, none=arguments.none, base=arguments.base, sizes=arguments.sizes
    )
    print(render(found))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _sizes(text: str) -> tuple[int | None, ...]:
    return tuple(None if part == "all" else int(part) for part in text.split(","))


def measure(
    train_folder: Path, validation: Path, *, none: Path | None, base: Path, sizes: Sequence[int | None] = SIZES
) -> dict[str, Any]:
    """All figures; accuracies in 0..1."""
    with tempfile.TemporaryDirectory() as folder, Classifier(base, threads=1) as classifier:
        views, contents = views_of(classifier.preprocessing), read_model_file(base)
        depths = Depths(feature_tensor(contents).size, inner_maps(contents))
        known, seen = (read_photos(path, most_bytes=_MOST_BYTES) for path in (train_folder, validation))

        def features(photos: PhotoFolder) -> list[Array]:
            openers = [partial(Classifier, base, threads=1, preprocessing=view) for view in views]
            return read_features(photos, contents, depths, openers=openers, cache=folder)[1]

        learned, tested = features(known), features(seen)
        classes = _classes(known)
        truth = np.array([known.labels.index(photo.label) for photo in seen.photos])
        rows = [_row(views, depths, learned, classes, tested, truth, size) for size in sizes]
        whole = _whole(train_folder, validation, none, base, Path(folder))
    return {"photos": len(classes), "validation": len(truth), "rows": rows, **whole, "machine": machine_facts()}


def _classes(folder: PhotoFolder) -> Array:
    return np.array([folder.labels.index(photo.label) for photo in folder.photos], np.int64)


def _row(
    views: Sequence[Preprocessing],
    depths: Depths,
    learned: Sequence[Array],
    classes: Array,
    tested: Sequence[Array],
    truth: Array,
    size: int | None,
) -> dict[str, Any]:
    """Accuracies of one number of photos a class, a value a seed."""
    heads, means = [], []
    for seed in range(1 if size is None else SEEDS):
        drawn = draw(classes, size, seed)
        kinds = classes[drawn]
        best = best_view(views, [rows[drawn] for rows in learned], kinds, sizes=depths.sizes)
        new = tested[views.index(best.preprocessing)]
        heads.append(float((best.trained.head.logits(new).argmax(axis=1) == truth).mean()))
        pooled, asked = (unit_rows(rows[:, : depths.first]) for rows in (learned[0][drawn], tested[0]))
        centres = np.stack([pooled[kinds == kind].mean(axis=0) for kind in np.unique(classes)])
        means.append(float(((asked @ unit_rows(centres).T).argmax(axis=1) == truth).mean()))
    return {"a_class": size, "learned": heads, "class_means": means}


def draw(classes: Array, size: int | None, seed: int) -> Array:
    """Indices of `size` photos of each class, all of smaller ones, in the order of the photos."""
    if size is None:
        return np.arange(len(classes))
    random = np.random.default_rng(seed)
    members = (np.flatnonzero(classes == kind) for kind in np.unique(classes))
    return np.sort(np.concatenate([random.permutation(found)[:size] for found in members]))


def _whole(train_folder: Path, validation: Path, none: Path | None, base: Path, folder: Path) -> dict[str, Any]:
    """`learn` with all photos: seconds with cached features, and what its file does."""
    output = folder / "learned.tflite"
    options: dict[str, Any] = {"base": base, "cache": folder / "cache", "threads": 1}
    seconds = [_seconds(lambda: learn(train_folder, output, **options)) for _ in range(2)]
    peak_mb = peak_rss_mb()
    with Classifier(base, threads=1) as before, Classifier(output, threads=1) as after:
        images = find_images(validation)
        own = [_similarity(after, image) for image in images]
        found = [] if none is None else [_similarity(after, image) for image in find_images(none)]
        times = _times(before, after, images[0])
        rule = None if after.metadata is None else after.metadata.unknown
    return {
        "seconds": {"all": seconds[0], "features_cached": seconds[1]},
        "peak_rss_mb": peak_mb,
        "bytes": {"base": base.stat().st_size, "learned": output.stat().st_size},
        "inference_ms": times,
        "unknown": None
        if rule is None
        else {
            "own_called_unknown": float(np.mean([value < rule.threshold for value in own])),
            "none_recognised": float(np.mean([value < rule.threshold for value in found])) if found else None,
            "auroc": auroc(own, found) if found else None,
        },
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _similarity(classifier: Classifier, image: Path) -> float:
    classifier.scores(image)
    return 0.0 if classifier.unknown is None else classifier.unknown.value


def _times(before: Classifier, after: Classifier, image: Path) -> dict[str, float]:
    """Median milliseconds, the two by turns."""
    content = read_file(image, most_bytes=_MOST_BYTES)
    found: dict[str, list[float]] = {"base": [], "learned": []}
    for _ in range(_ROUNDS):
        for name, classifier in (("base", before), ("learned", after)):
            classifier.predict(content)
            found[name].append(classifier.timing_ms["inference"])
    return {name: float(np.median(values)) for name, values in found.items()}


def render(found: dict[str, Any]) -> str:
    """The table, and the other figures, for people."""
    lines = [
        f"{found['photos']} photos to learn from, {found['validation']} to judge by",
        "photos a class  learned  (seeds)              class means",
    ]
    for row in found["rows"]:
        seeds = " ".join(f"{100 * value:.1f}" for value in row["learned"])
        size = "all" if row["a_class"] is None else row["a_class"]
        mean, means = (100 * float(np.mean(row[key])) for key in ("learned", "class_means"))
        lines.append(f"{size:>14}  {mean:6.2f}  ({seeds:<24})  {means:6.2f}")
    lines.append(
        json.dumps({key: found[key] for key in ("seconds", "peak_rss_mb", "bytes", "inference_ms", "unknown")})
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
