"""MediaPipe Tasks' ImageClassifier as its documentation has it: `SCRIPT MODEL REQUEST.json RESULT.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(model: str, request: str, result: str) -> None:
    """Classifies the files listed in the request; the result has [index, label, score], best first, for each."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=asked["top_k"])
    classifier = ImageClassifier.create_from_options(options)
    try:
        found = [
            classifier.classify(mp.Image.create_from_file(file)).classifications[0].categories
            for file in asked["files"]
        ]
    finally:
        classifier.close()  # otherwise its destructor fails when Python ends
    rows = [
        [[category.index, category.category_name, category.score] for category in categories] for categories in found
    ]
    Path(result).write_text(json.dumps(rows), encoding="utf-8")


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Classifies the file `image` with the `.tflite` file `model`, from its path to its labels."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

    options = ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=settings["model"]), max_results=settings["top_k"]
    )
    classifier = ImageClassifier.create_from_options(options)
    return lambda: classifier.classify(mp.Image.create_from_file(settings["image"]))


if __name__ == "__main__":
    main(*sys.argv[1:4])
