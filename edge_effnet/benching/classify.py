"""The measuring process of `bench`: a Classifier, from a photo's path to its labels."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import islice, repeat
from pathlib import Path
from statistics import fmean, median
from typing import Any

from edge_effnet.benching.serving import Subject, peak_rss_mb, serve
from edge_effnet.classifier import Classifier
from edge_effnet.many import Classifiers, spread
from edge_effnet.preprocessing import Preprocessing

_OPENINGS = 3
_STAGES = ("decode", "preprocess", "inference", "postprocess")
#: Photos a worker and run. As many are read ahead, so that a first run that doesn't count takes those made before it.
_PHOTOS_A_RUN = 2


class _Classification:
    """settings: model, engine, threads, workers, image (paths and names), preprocessing (a dict, or None for the
    file's).
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        given = settings["preprocessing"]
        self._model = settings["model"]
        self._options = {
            "engine": settings["engine"],
            "threads": settings["threads"],
            "preprocessing": None if given is None else Preprocessing.from_dict(given),
        }
        self._image = Path(settings["image"])
        self._classifier = Classifier(self._model, **self._options)
        self._photos = 1 if settings["workers"] == 1 else _PHOTOS_A_RUN * settings["workers"]
        self._open = ExitStack()
        self._results = self._open.enter_context(
            spread((self._classifier,), _timings, repeat(self._image), workers=settings["workers"])
        )

    def describe(self) -> dict[str, Any]:
        """The engine that was taken, and what the file says of itself."""
        document = self._classifier.metadata
        return {
            "engine": self._classifier.engine,
            "engine_version": self._classifier.engine_version,
            "variant": document.variant if document else None,
            "precision": document.precision if document else None,
            "accuracy": dict(document.accuracy) if document and document.accuracy else None,
            "size_bytes": self._classifier.model_path.stat().st_size,
        }

    def run(self) -> dict[str, float]:
        """Milliseconds of each stage and of the whole call; "each": from one photo's end to the next's."""
        started = time.perf_counter()
        found = list(islice(self._results, self._photos))
        seconds = time.perf_counter() - started
        return {stage: fmean(timings[stage] for timings in found) for stage in (*_STAGES, "total")} | {
            "each": 1000 * seconds / self._photos
        }

    def finish(self) -> dict[str, Any]:
        """Peak memory; then the time to open the file again, with the engine imported and the file in the page
        cache.
        """
        peak = peak_rss_mb()
        self._open.close()
        self._classifier.close()
        openings = []
        for _ in range(_OPENINGS):
            started = time.perf_counter()
            Classifier(self._model, **self._options).close()
            openings.append(1000 * (time.perf_counter() - started))
        return {"load_ms": round(median(openings), 3), "peak_rss_mb": peak}


def _timings(classifiers: Classifiers, image: Path) -> dict[str, float]:
    (classifier,) = classifiers
    started = time.perf_counter()
    classifier.predict(image)
    return {**classifier.timing_ms, "total": 1000 * (time.perf_counter() - started)}


def open_subject(settings: dict[str, Any]) -> Subject:
    """A Classifier for `serve`."""
    return _Classification(settings)


def main() -> None:
    """The process."""
    serve(open_subject)
