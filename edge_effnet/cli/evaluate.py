"""`edge-effnet eval`: accuracy on labelled photos, recorded in the model file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import Classifier
from edge_effnet.cli.console import remark, say, write
from edge_effnet.cli.options import (
    add_decoding_option,
    add_engine_options,
    add_image_options,
    add_preprocessing_options,
    add_trust_options,
    add_workers_option,
    open_classifier,
    positive,
    wants_json,
)
from edge_effnet.cli.progress import Bar
from edge_effnet.datasets import read_dataset
from edge_effnet.errors import OutputError
from edge_effnet.evaluation import evaluate
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import with_document
from edge_effnet.many import split_cores
from edge_effnet.text import json_text, printable

_WORST_PAIRS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx file")
    parser.add_argument(
        "data", metavar="DATA", help="class folders, or a folder with labels.csv (file,index or file,label)"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N photos; the result isn't recorded then"
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    parser.add_argument("--no-record", action="store_true", help="don't write the accuracy into the model file")
    parser.add_argument(
        "--format", choices=("text", "json"), help="of the output (default: text on a terminal, JSON otherwise)"
    )
    add_engine_options(parser)
    add_workers_option(parser)
    add_trust_options(parser)
    add_decoding_option(parser)
    add_image_options(parser)
    add_preprocessing_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the accuracy and records it in the file."""
    inputs = {"the file of labels": arguments.labels, "a file of the data": arguments.data}
    check_outputs({"the model": arguments.model}, inputs)
    workers, threads = split_cores(arguments.workers, arguments.threads)
    with open_classifier(arguments, arguments.model, threads=threads) as classifier:
        dataset = read_dataset(arguments.data, num_classes=classifier.num_classes, labels=classifier.labels)
        chosen = list(islice(dataset, arguments.limit))
        with Bar("photos", total=len(chosen)) as bar:
            result = evaluate(classifier, chosen, workers=min(workers, max(1, len(chosen))), after_photo=bar.step)
    if arguments.limit is None and not arguments.no_record:
        _record(classifier, result, Path(arguments.data).resolve().name)
    if wants_json(arguments):
        write(json_text(result) + "\n")
    else:
        _print_text(result)
    return 0


def _record(classifier: Classifier, result: dict[str, Any], data: str) -> None:
    """Fills `accuracy` of the file's document; a file of another maker, or one that can't be written, stays as it
    is.
    """
    if classifier.metadata is None:
        return
    accuracy = {"data": data, **{key: result[key] for key in ("images", "top1", "top5", "engine")}}
    path = classifier.model_path.resolve()  # a link stays a link
    try:
        require_writable_folder(path)
        write_atomically(path, with_document(path.read_bytes(), replace(classifier.metadata, accuracy=accuracy)))
        remark(f"recorded the accuracy in {path} (--no-record leaves the file alone)")
    except OutputError as error:
        remark(f"the accuracy is not recorded: {error}")


def _print_text(result: dict[str, Any]) -> None:
    say(f"{printable(result['model'])}  ({result['engine']}, {result['images']} photos)")
    say(f"  top-1 {100 * result['top1']:.2f} %   top-5 {100 * result['top5']:.2f} %")
    worst = sorted(result["per_class"], key=lambda row: row["top1"])[:_WORST_PAIRS]
    say(
        "  hardest classes: "
        + ", ".join(f"{printable(row['label'])} {100 * row['top1']:.0f} % of {row['images']}" for row in worst)
    )
    times = ", ".join(f"{stage} {values['p50']:.1f}" for stage, values in result["latency_ms"].items())
    say(f"  median ms: {times}")
    for text in result.get("unreadable", []):
        remark(f"left out: {text}")
