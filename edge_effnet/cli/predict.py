"""`edge-effnet predict`: classify files, folders, globs or standard input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_effnet.clashes import check_save_folder
from edge_effnet.classifier import Classifier
from edge_effnet.cli.options import (
    add_decoding_option,
    add_engine_options,
    add_image_options,
    add_preprocessing_options,
    add_trust_options,
    names,
    open_classifier,
    positive,
)
from edge_effnet.cli.output import FORMATS, Result, make_printer
from edge_effnet.cli.progress import with_progress
from edge_effnet.errors import ImageError, OutputError, UsageError
from edge_effnet.files import require_writable_folder
from edge_effnet.images import expand_sources

_STANDARD_INPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image file, folder, glob, or - for standard input"
    )
    parser.add_argument(
        "--model", metavar="FILE", help="a .tflite or .onnx file (default: the bundled EfficientNet-Lite0)"
    )
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="how many classes to show (default 5)")
    parser.add_argument(
        "--threshold", type=float, default=0.0, metavar="X", help="lowest score to show, 0 to 1 (default 0)"
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    parser.add_argument("--allow", type=names, metavar="L,…", help="show only these labels (names or indices)")
    parser.add_argument("--deny", type=names, metavar="L,…", help="never show these labels")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the output (default text)")
    parser.add_argument("--save", metavar="DIR", help="write annotated copies of the photos there")
    add_engine_options(parser)
    add_trust_options(parser)
    add_decoding_option(parser)
    add_image_options(parser)
    add_preprocessing_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the predictions; 2 when a source couldn't be read."""
    if not 0 <= arguments.threshold <= 1:
        raise UsageError(f"--threshold {arguments.threshold} is not between 0 and 1")
    sources = list(_sources(arguments.sources, arguments.max_bytes))
    if arguments.save:
        check_save_folder("--save", arguments.save, (image for _, image in sources))
        _make_folder(Path(arguments.save))
    with open_classifier(arguments, arguments.model) as classifier:
        classifier.class_indices(
            allow=arguments.allow, deny=arguments.deny
        )  # a wrong label ends the run before it begins
        printer = make_printer(arguments.format)
        failed = 0
        for source, image in with_progress(sources, total=len(sources), what="photos"):
            result = _classify(classifier, source, image, arguments)
            failed += "error" in result
            printer.add(result)
        printer.finish()
    return 2 if failed else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror or error}") from error
    require_writable_folder(folder / "photo")


def _sources(given: list[str], max_bytes: int) -> Iterator[tuple[str, Any]]:
    """(name, image) of every source; standard input is read once, and no further than the limit shows to be passed."""
    if given.count(_STANDARD_INPUT) > 1:
        raise UsageError("standard input (-) stands twice among the sources; it can be read once")
    for name in given:
        if name == _STANDARD_INPUT:
            yield name, sys.stdin.buffer.read(max_bytes + 1)
        else:
            yield from ((str(path), path) for path in expand_sources([name]))


def _classify(classifier: Classifier, name: str, image: Any, arguments: argparse.Namespace) -> Result:
    try:
        found = classifier.predict(
            image, top_k=arguments.top_k, threshold=arguments.threshold, allow=arguments.allow, deny=arguments.deny
        )
    except ImageError as error:
        print(f"edge-effnet: error: {error}", file=sys.stderr)
        return {"source": name, "error": str(error)}
    if arguments.save:
        from edge_effnet.cli.annotate import save_annotated

        save_annotated(image, name, found, Path(arguments.save), rules=classifier.image_rules)
    return {
        "source": name,
        "model": str(classifier.model_path),
        "engine": classifier.engine,
        "predictions": [asdict(prediction) for prediction in found],
        "timing_ms": {stage: round(value, 3) for stage, value in classifier.timing_ms.items()},
    }
