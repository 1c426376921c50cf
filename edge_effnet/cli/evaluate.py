"""`edge-effnet eval`: accuracy on labelled photos, recorded in the model file."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import Classifier
from edge_effnet.cli.console import remark, say, write
from edge_effnet.cli.limits import add_limit_options, drawn
from edge_effnet.cli.options import (
    add_decoding_option,
    add_engine_options,
    add_group_option,
    add_image_options,
    add_trust_options,
    add_workers_option,
    open_classifier,
    wants_json,
)
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.preparation import add_preprocessing_options
from edge_effnet.cli.progress import Bar
from edge_effnet.datasets import LabelledImage, Without, left_out_of, read_dataset
from edge_effnet.diagnosis import DEFAULT_PHOTOS, diagnose
from edge_effnet.errors import OutputError, UsageError
from edge_effnet.evaluation import evaluate
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import with_document
from edge_effnet.labels import label_of
from edge_effnet.many import split_cores
from edge_effnet.text import csv_cell, json_text, printable
from edge_effnet.twins import remark_on_twins

_WORST_PAIRS = 5
#: Of fewer photos a share says nothing.
_FEWEST_TO_JUDGE = 5
#: Classes up to which the confusion matrix is printed in full.
_MOST_DENSE = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx file")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="class folders, or a folder with labels.csv (file,index or file,label; of several, a row each or a|b)",
    )
    add_limit_options(parser, then="; the result isn't recorded then")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    add_group_option(parser)
    parser.add_argument(
        "--confusion", metavar="FILE.csv", help="write how often each class was taken for each: a row a true class"
    )
    diagnose = parser.add_argument(
        "--diagnose",
        action="store_true",
        help="try the usual mistakes instead (BGR, squash or crop, mean and std, resizer, order of the labels) on "
        f"{DEFAULT_PHOTOS} photos or --limit N, and say which would raise the accuracy",
    )
    goes_with("with --group or --confusion", diagnose, holds=lambda a: not (a.group or a.confusion))
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
    check_outputs({"the model": arguments.model, "--confusion": arguments.confusion}, inputs)
    if arguments.confusion:
        require_writable_folder(arguments.confusion)
    if arguments.diagnose:
        return _diagnose(arguments)
    workers, threads = split_cores(arguments.workers, arguments.threads)
    with open_classifier(arguments, arguments.model, threads=threads) as classifier:
        chosen = drawn(_dataset(arguments.data, classifier), arguments)
        if twins := remark_on_twins(chosen):
            remark(twins)
        with Bar("photos", total=len(chosen)) as bar:
            result = evaluate(classifier, chosen, workers=min(workers, max(1, len(chosen))), after_photo=bar.step)
    if arguments.confusion:
        write_atomically(arguments.confusion, _confusion_csv(result["confusion"], classifier.labels).encode())
    if arguments.limit is None and not arguments.group and not arguments.no_record:
        _record(classifier, result, Path(arguments.data).resolve().name)
    if wants_json(arguments):
        write(json_text({**result, "confusion": _shown_confusion(result["confusion"])}) + "\n")
    else:
        _print_text(result)
    return 0


def _diagnose(arguments: argparse.Namespace) -> int:
    """Prints what the usual mistakes would explain; nothing is recorded."""
    with open_classifier(arguments, arguments.model) as classifier:
        arguments.limit = arguments.limit or DEFAULT_PHOTOS
        chosen = [item for item in drawn(_dataset(arguments.data, classifier), arguments) if item.classes]
        with Bar("photos", total=len(chosen)) as bar:
            result = diagnose(classifier, chosen, after_photo=bar.step)
    if wants_json(arguments):
        write(json_text(result) + "\n")
        return 0
    say(
        f"{printable(result['model'])}  ({result['engine']}, {result['images']} photos): top-1 {_share(result['top1'])}"
    )
    for row in result["suspects"]:
        sign = "would raise it" if row["sure"] else "by chance" if row["gain"] > 0 else ""
        say(f"  {100 * row['gain']:+6.1f}  {_share(row['top1'])}  {row['what']:44} {sign}".rstrip())
    sure = [row for row in result["suspects"] if row["sure"]]
    if result["together"] is not None:
        say(f"  together: {_share(result['together']['top1'])}")
    if sure:
        best = result["together"] or sure[0]
        say(f"  export it anew with {best['option']}")
    else:
        say("  none of these would raise the accuracy by more than chance")
    return 0


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _dataset(folder: str, classifier: Classifier) -> list[LabelledImage]:
    """With groups, the folders may be called like the groups, or like the labels in them."""
    count = classifier.num_classes
    takes_none = classifier.head.kind == "sigmoid" or classifier.num_answers > classifier.num_classes
    without: Without = "taken" if takes_none else "refused"
    if left_out := left_out_of(folder):
        remark(f"{folder}: {left_out}")
    try:
        return read_dataset(folder, num_classes=count, labels=classifier.labels, without=without)
    except UsageError:
        document = classifier.metadata
        if classifier.grouping is None or document is None or document.labels is None:
            raise
        return read_dataset(folder, num_classes=count, labels=document.labels)


def _shown_confusion(matrix: list[list[int]]) -> Any:
    """The matrix, or of many classes {"pairs": [[true, predicted, count], …]}: those that occur."""
    if len(matrix) <= _MOST_DENSE:
        return matrix
    pairs = ([true, found, n] for true, row in enumerate(matrix) for found, n in enumerate(row) if n)
    return {"pairs": list(pairs)}


def _confusion_csv(matrix: list[list[int]], labels: Sequence[str] | None) -> str:
    """A row a true class, a column a predicted one."""
    text = io.StringIO()
    names = [csv_cell(label_of(index, labels)) for index in range(len(matrix))]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true \\ predicted", *names])
    writer.writerows([name, *row] for name, row in zip(names, matrix, strict=True))
    return text.getvalue()


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
        before = path.read_bytes()
        after = with_document(before, replace(classifier.metadata, accuracy=accuracy))
        write_atomically(path, after)
        was, now = (hashlib.sha256(data).hexdigest() for data in (before, after))
        remark(f"recorded the accuracy in {path} (--no-record leaves the file alone)")
        if was != now:
            remark(f"its SHA-256, which --sha256 asks for, was {was} and is now {now}")
    except OutputError as error:
        remark(f"the accuracy is not recorded: {error}")


def _print_text(result: dict[str, Any]) -> None:
    say(f"{printable(result['model'])}  ({result['engine']}, {result['images']} photos)")
    say(f"  top-1 {100 * result['top1']:.2f} %   top-5 {100 * result['top5']:.2f} %")
    if "macro_f1" in result:
        shown = {"mean average precision": "mean_average_precision", "macro F1": "macro_f1"}
        shown |= {"balanced accuracy": "balanced_accuracy"} if "balanced_accuracy" in result else {}
        say("  " + "   ".join(f"{name} {result[key]:.3f}" for name, key in shown.items() if result[key] is not None))
    if "unknown" in result:
        say(f"  {_unknown_text(result['unknown'])}")
    told = [row for row in result["per_class"] if row["images"] >= _FEWEST_TO_JUDGE]
    worst = sorted(told, key=lambda row: row["top1"])[:_WORST_PAIRS]
    named = (f"{printable(row['label'])} {100 * row['top1']:.0f} % of {row['images']}" for row in worst)
    say(f"  hardest classes: {', '.join(named) or f'no class has {_FEWEST_TO_JUDGE} photos'}")
    times = ", ".join(f"{stage} {values['p50']:.1f}" for stage, values in result["latency_ms"].items())
    say(f"  median ms: {times}")
    for text in result.get("unreadable", []):
        remark(f"left out: {text}")


def _unknown_text(unknown: dict[str, Any]) -> str:
    """What was called unknown, rightly and wrongly."""
    own = f"{100 * unknown['known_called_unknown']:.1f} % of {unknown['known']} photos of the classes called unknown"
    if not unknown["unknown"]:
        return own
    found = f"{100 * unknown['unknown_recognised']:.1f} % of {unknown['unknown']} of none recognised"
    return f"{own}; {found}" + ("" if unknown["auroc"] is None else f" (area under ROC {unknown['auroc']:.4f})")
