"""tflite-support's Task library as its documentation has it: `SCRIPT MODEL REQUEST.json RESULT.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(model: str, request: str, result: str) -> None:
    """Classifies the files listed in the request; the result has [index, label, score], best first, for each."""
    from tflite_support.task import core, processor, vision

    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    options = vision.ImageClassifierOptions(
        base_options=core.BaseOptions(file_name=model),
        classification_options=processor.ClassificationOptions(max_results=asked["top_k"]),
    )
    classifier = vision.ImageClassifier.create_from_options(options)
    found = [
        classifier.classify(vision.TensorImage.create_from_file(file)).classifications[0].categories
        for file in asked["files"]
    ]
    rows = [
        [[category.index, category.category_name, category.score] for category in categories] for categories in found
    ]
    Path(result).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
