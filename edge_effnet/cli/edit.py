"""`edge-effnet edit`: labels and preprocessing of a model file anew, without its checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_effnet.clashes import check_outputs
from edge_effnet.cli.console import remark, say
from edge_effnet.cli.values import positive, three
from edge_effnet.errors import UsageError
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.formats.edited import with_metadata
from edge_effnet.formats.official import official_metadata
from edge_effnet.label_files import read_labels
from edge_effnet.labels import check_label_count, remarks_on_labels
from edge_effnet.metadata import ModelDocument
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.text import printable

_CHANGES = ("labels", "name", "mean", "std", "resize", "interpolation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx file that edge-effnet made")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write; MODEL stays as it is")
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line")
    parser.add_argument("--name", metavar="TEXT", help="what clients call the model")
    group = parser.add_argument_group("preprocessing", "how the network was trained, where the file says it wrongly")
    group.add_argument("--mean", type=three, metavar="R,G,B", help="of pixels in 0..1; not of int8 files")
    group.add_argument("--std", type=three, metavar="R,G,B", help="of pixels in 0..1; not of int8 files")
    group.add_argument("--resize", type=positive, metavar="N", help="shorter side before the crop")
    group.add_argument("--interpolation", choices=("bilinear", "bicubic"), help="of the resize")


def run(arguments: argparse.Namespace) -> int:
    """Writes the changed file and says what changed."""
    path, output = Path(arguments.model), Path(arguments.output)
    changes = {name: value for name in _CHANGES if (value := getattr(arguments, name)) is not None}
    if not changes:
        raise UsageError(f"nothing to change: say one of {', '.join(f'--{name}' for name in _CHANGES)}")
    check_outputs({"-o": output}, {"the model": path, "the file of labels": arguments.labels})
    if output.suffix != path.suffix:
        raise UsageError(f"output {output} ends in {output.suffix or 'nothing'}; expected {path.suffix} as the model")
    require_writable_folder(output)
    contents = read_model_file(path)
    if contents.document is None:
        raise UsageError(f"{path} was made by another tool; only files of edge-effnet can be edited")
    document = _edited(contents.document, changes, contents.format)
    official = _official(contents.document, document) if contents.format == "tflite" else None
    write_atomically(output, with_metadata(path.read_bytes(), document, official, name=str(path)))
    if contents.document.accuracy and document.accuracy is None:
        remark("the recorded accuracy was of the old preprocessing and is taken out; edge-effnet eval measures anew")
    for text in remarks_on_labels(document.labels) if "labels" in changes else ():
        remark(text)
    say(f"{printable(output)}: {', '.join(changes)} changed")
    return 0


def _edited(document: ModelDocument, changes: dict[str, Any], file_format: str) -> ModelDocument:
    """The document with the changes. Raises UsageError for those that can't be."""
    if "labels" in changes:
        labels = read_labels(changes["labels"])
        document = replace(
            document, labels=check_label_count(labels, document.num_classes, source=f"labels in {changes['labels']}")
        )
    if "name" in changes:
        document = replace(document, extra={**document.extra, "name": changes["name"]})
    said = {name: changes[name] for name in ("mean", "std", "resize", "interpolation") if name in changes}
    if not said:
        return document
    if {"mean", "std"} & set(said) and document.precision == "int8" and file_format == "tflite":
        raise UsageError("mean and std lie inside of an int8 file's weights; export it anew to change them")
    before: Preprocessing = document.preprocessing
    after = replace(before, **said)
    return replace(document, preprocessing=after, accuracy=document.accuracy if after == before else None)


def _official(before: ModelDocument, after: ModelDocument) -> bytes | None:
    """The official TFLite Metadata where it must change: it says name, mean and std, and whether there are labels."""

    def told(document: ModelDocument) -> tuple[Any, ...]:
        pre = document.preprocessing
        return pre.mean, pre.std, document.extra.get("name"), document.labels is None

    return None if told(before) == told(after) else official_metadata(after)
