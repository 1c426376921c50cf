"""The measuring process of `bench`: a Classifier, from a photo's path to its labels."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from edge_effnet.benching.serving import Subject, peak_rss_mb, serve
from edge_effnet.classifier import Classifier
from edge_effnet.preprocessing import Preprocessing

_OPENINGS = 3
_STAGES = ("decode", "preprocess", "inference", "postprocess")


class _Classification:
    """settings: model, engine, threads, image (paths and names), preprocessing (a dict, or None for the file's)."""

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
        """Milliseconds of each stage, and of the whole call."""
        started = time.perf_counter()
        self._classifier.predict(self._image)
        total = 1000 * (time.perf_counter() - started)
        timing = self._classifier.timing_ms
        return {stage: timing[stage] for stage in _STAGES} | {"total": total}

    def finish(self) -> dict[str, Any]:
        """Peak memory; then the time to open the file again, with the engine imported and the file in the page
        cache.
        """
        peak = peak_rss_mb()
        self._classifier.close()
        openings = []
        for _ in range(_OPENINGS):
            started = time.perf_counter()
            Classifier(self._model, **self._options).close()
            openings.append(1000 * (time.perf_counter() - started))
        return {"load_ms": round(median(openings), 3), "peak_rss_mb": peak}


def open_subject(settings: dict[str, Any]) -> Subject:
    """A Classifier for `serve`."""
    return _Classification(settings)


def main() -> None:
    """The process."""
    serve(open_subject)
