"""`edge-effnet compare`: how far two model files agree on the same photos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_effnet.cli.console import remark, say, write
from edge_effnet.cli.limits import add_limit_options, drawn
from edge_effnet.cli.options import (
    add_engine_options,
    add_image_options,
    add_workers_option,
    open_classifier,
    wants_json,
)
from edge_effnet.cli.preparation import add_preprocessing_options, preprocessing_where_unsaid
from edge_effnet.cli.progress import Bar
from edge_effnet.comparison import compare, comparison_photos
from edge_effnet.datasets import LabelledImage, left_out_of
from edge_effnet.images import look_through
from edge_effnet.many import split_cores
from edge_effnet.text import json_text, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("a", metavar="A", help="a .tflite or .onnx file: the reference")
    parser.add_argument("b", metavar="B", help="the file to compare with it; each prepares photos in its own way")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="photos: class folders, a folder with labels.csv, or any folder (agreement alone then)",
    )
    add_limit_options(parser)
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the models'")
    parser.add_argument(
        "--format", choices=("text", "json"), help="of the output (default: text on a terminal, JSON otherwise)"
    )
    add_engine_options(parser)
    add_workers_option(parser)
    add_image_options(parser)
    add_preprocessing_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the agreement, and each file's accuracy where the photos' classes are known."""
    workers, threads = split_cores(arguments.workers, arguments.threads)
    with (
        open_classifier(arguments, arguments.a, threads=threads, prepare=preprocessing_where_unsaid) as a,
        open_classifier(arguments, arguments.b, threads=threads, prepare=preprocessing_where_unsaid) as b,
    ):
        photos, reason = comparison_photos(arguments.data, num_classes=a.num_classes, labels=a.labels or b.labels)
        if reason is not None:
            remark(f"agreement alone, for the photos have no known classes: {reason}")
        _say_left_out(arguments.data, photos)
        chosen = drawn(photos, arguments)
        with Bar("photos", total=len(chosen)) as bar:
            result = compare(a, b, chosen, workers=min(workers, max(1, len(chosen))), after_photo=bar.step)
    if wants_json(arguments):
        write(json_text(result) + "\n")
    else:
        _print_text(result)
    return 0


def _say_left_out(data: str, photos: Sequence[LabelledImage]) -> None:
    labelled = any(item.classes for item in photos)
    left_out = left_out_of(data) if labelled else look_through(Path(data)).remark
    if left_out:
        remark(f"{data}: {left_out}")


def _print_text(result: dict[str, Any]) -> None:
    sqnr = result["logit_sqnr_db"]
    same = f"top-1 agreement {_percent(result['top1_agreement'])}, top-5 overlap {_percent(result['top5_agreement'])}"
    if "decision_agreement" in result:
        same = f"{_percent(result['decision_agreement'])} of the decisions the same"
    say(f"{result['images']} photos: {same}")
    say(
        f"  logits: {'identical' if sqnr is None else f'{sqnr:.2f} dB SQNR'}; scores differ by "
        f"{result['mean_abs_score_difference']:.5f} on average"
    )
    for key in ("a", "b"):
        side = result[key]
        accuracy = "" if side["top1"] is None else f", top-1 {_percent(side['top1'])}, top-5 {_percent(side['top5'])}"
        name = f"{key.upper()}  {printable(side['model'])}"
        say(f"  {name}  ({side['engine']}, {side['inference_ms']:.1f} ms{accuracy})")
    for text in result.get("unreadable", []):
        remark(f"left out: {text}")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
