"""`edge-effnet preprocess`: what the network sees of a photo."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np

from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.cli.console import say
from edge_effnet.cli.options import add_image_options, image_rules_from
from edge_effnet.cli.preparation import add_preprocessing_options, preprocessing_from
from edge_effnet.decoding import decode
from edge_effnet.errors import UsageError
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.formats import read_model_file
from edge_effnet.opening import preprocessing_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("photo", metavar="PHOTO", help="an image file")
    parser.add_argument("--model", metavar="FILE", help="a .tflite or .onnx file (default: the bundled one)")
    parser.add_argument("-o", "--output", metavar="SEEN.png", help="write the network's view of the photo")
    parser.add_argument("--array", metavar="OUT.npy", help="write the normalised input, float32[H, W, C]")
    add_image_options(parser)
    add_preprocessing_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the view and says how it came about."""
    if not arguments.output and not arguments.array:
        raise UsageError("nothing to write; expected -o SEEN.png, --array OUT.npy or both")
    outputs = {"--output": arguments.output, "--array": arguments.array}
    check_outputs(outputs, {"the photo": arguments.photo, "the model": arguments.model})
    for path in filter(None, outputs.values()):
        require_writable_folder(path)
    model = BUNDLED_MODEL if arguments.model is None else arguments.model
    preprocessing = preprocessing_from(arguments, model) or preprocessing_of(read_model_file(model), None, Path(model))
    photo = decode(arguments.photo, rules=image_rules_from(arguments))
    if arguments.output:
        view = io.BytesIO()
        preprocessing.view(photo).save(view, "PNG")
        write_atomically(arguments.output, view.getvalue())
    if arguments.array:
        array = io.BytesIO()
        np.save(array, preprocessing.normalise(preprocessing.pixels(photo)), allow_pickle=False)
        write_atomically(arguments.array, array.getvalue())
    frame = preprocessing.frame(photo.size)
    say(
        f"{arguments.photo}: {photo.width}×{photo.height}, {preprocessing.mode} to {frame.size[0]}×{frame.size[1]} "
        f"({preprocessing.resizer} {preprocessing.interpolation}), "
        f"{frame.crop[0]}×{frame.crop[1]} from {frame.left},{frame.top}, {preprocessing.channels}"
    )
    return 0
