"""`edge-effnet export`: a checkpoint to a model file."""

from __future__ import annotations

import argparse
import time

from edge_effnet.cli.console import remark, say
from edge_effnet.cli.options import IMAGE_OPTIONS, add_image_options, image_rules_from
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.progress import StageBars
from edge_effnet.cli.values import INTERPOLATION_NAMES, colour, fractions, image_size, positive, three
from edge_effnet.framing import RESIZE_MODES
from edge_effnet.network.activations import HEAD_ACTIVATIONS
from edge_effnet.preprocessing import INTERPOLATIONS
from edge_effnet.variants import VARIANTS

#: What isn't passed on by its own name.
_OTHERS = ("verb", "debug", "checkpoint", "output", *IMAGE_OPTIONS)
#: As quantization/refine has it, which isn't imported for `--help`.
_DEFAULT_MINUTES = 5.0
_PRECISIONS = ("fp32", "fp16", "int8", "weight-int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "checkpoint",
        metavar="INPUT",
        help="weights (.safetensors, .pth, .pt, .ckpt, .bin, .pkl), .keras, .h5, a float .onnx or .tflite, a folder "
        "with config.json, hf-hub:OWNER/NAME[@REVISION] or torchvision:NAME; told by content, not by ending",
    )
    parser.add_argument("-o", dest="output", required=True, metavar="OUT", help="the .tflite or .onnx file to write")
    parser.add_argument("--precision", choices=_PRECISIONS, default="fp32", help="default fp32")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="timm, timm-tf, torchvision, lukemelas, or a model name like tf_efficientnet_b0.ns_jft_in1k",
    )
    parser.add_argument(
        "--weights", metavar="KEY", help="which network to take of a file that holds several (student, teacher, …)"
    )
    parser.add_argument("--variant", choices=tuple(VARIANTS), help="default: found from the tensors")
    parser.add_argument(
        "--image-size",
        type=image_size,
        metavar="N|HxW",
        help="side of the network's input, or height x width (default: the variant's)",
    )
    parser.add_argument(
        "--padding-size",
        type=positive,
        metavar="N",
        help="size an efficientnet-pytorch model (default: the variant's), or the base in Keras weights, was built for",
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, to put into the file")
    parser.add_argument(
        "--no-verify",
        action="store_const",
        const="none",
        default="on a few photos",
        dest="verification",
        help="don't run the file on a few photos and compare it with the float network before it is kept",
    )
    _add_head_options(parser)
    group = parser.add_argument_group("preprocessing", "default: as published for the checkpoint's origin")
    group.add_argument("--mean", type=three, metavar="R,G,B", help="of pixels in 0..1")
    group.add_argument("--std", type=three, metavar="R,G,B", help="of pixels in 0..1")
    resize = group.add_mutually_exclusive_group()
    resize.add_argument("--crop-pct", type=float, metavar="X", help="share of the resized photo that the crop keeps")
    resize.add_argument("--resize", type=positive, metavar="N", help="shorter side before the crop")
    group.add_argument("--interpolation", choices=INTERPOLATION_NAMES, help="of the resize")
    group.add_argument(
        "--resize-mode",
        choices=RESIZE_MODES,
        help="shorter side to N and a crop, squash to the size, longer side to N, or pad: a letterbox",
    )
    group.add_argument("--resizer", choices=tuple(INTERPOLATIONS), help="whose resize training used")
    fill = group.add_argument("--fill", type=colour, metavar="R,G,B", help="0..255, around photos with pad and longer")
    around = ("pad", "longer")
    goes_with("without --resize-mode pad or longer", fill, holds=lambda arguments: arguments.resize_mode in around)
    group.add_argument("--channels", choices=("rgb", "bgr", "grey"), help="order the network takes (default rgb)")
    _add_int8_options(parser)


def _add_head_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("outputs", "default: as found; one output is a sigmoid")
    group.add_argument("--head", choices=("softmax", "sigmoid", "features"), help="what they mean; features: no head")
    group.add_argument(
        "--head-activation",
        choices=tuple(HEAD_ACTIVATIONS),
        help="between several linear layers, which a state dict doesn't say",
    )
    group.add_argument(
        "--output",
        dest="output_kind",
        choices=("logits", "probabilities"),
        default="logits",
        help="probabilities: the file ends in softmax or sigmoid, for programs that take no logits (default logits)",
    )
    group.add_argument(
        "--thresholds", type=fractions, metavar="X[,X …]", help="of a sigmoid head: one, or one a class (default 0.5)"
    )


def _add_int8_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("int8")
    calibration = group.add_argument(
        "--calibration", metavar="DIR", help="photos like those the model will see; no labels needed"
    )
    images = group.add_argument(
        "--calibration-images", type=positive, default=256, metavar="N", help="how many to use (default 256)"
    )
    workers = group.add_argument(
        "--workers", type=positive, metavar="N", help="photos decoded at a time (default: the cores there are)"
    )
    evaluation = group.add_argument(
        "--evaluation", metavar="DIR", help="photos to judge int8 by, in class folders or not (default: some held out)"
    )
    seed = group.add_argument("--seed", type=int, default=0, help="for drawing the photos (default 0)")
    duration = group.add_mutually_exclusive_group()
    refine = duration.add_argument(
        "--refine",
        type=float,
        default=_DEFAULT_MINUTES,
        metavar="MINUTES",
        help="how long to learn int8's rounding and ranges from the photos, in minutes of two idle cores (default "
        f"{_DEFAULT_MINUTES:g}); Ctrl-C ends it with what was reached",
    )
    quick = duration.add_argument(
        "--quick", action="store_const", const=0.0, dest="refine", help="don't learn: a first look in a minute or two"
    )
    drop = group.add_argument(
        "--max-drop",
        type=float,
        metavar="X",
        help="points of accuracy int8 may lose; parts of blocks go back to float32 until that holds",
    )
    report = group.add_argument(
        "--report",
        metavar="FILE",
        help="a page (.html), or the same as data (.json), on what int8 did; measured on photos not calibrated on",
    )
    given = (calibration, images, workers, evaluation, seed, refine, quick, drop, report)
    goes_with("without --precision int8", *given)
    add_image_options(parser, others="calibration photos beyond it are left out", needed="without --precision int8")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file and says what it wrote."""
    from edge_effnet.exporters import export

    start = time.perf_counter()
    options = {key: value for key, value in vars(arguments).items() if key not in _OTHERS and key[0] != "_"}
    with StageBars(elsewhere="lines") as bars:
        report = export(
            arguments.checkpoint, arguments.output, image_rules=image_rules_from(arguments), progress=bars, **options
        )
    for text in report.remarks:
        remark(text)
    document = report.document
    if document.labels is None:
        remark("classes without names; --labels FILE puts them into the file")
    say(
        f"{report.path}: {document.title}, {document.precision}, {document.num_classes} classes, "
        f"{document.size_text}, {report.size_bytes / 1e6:.2f} MB, {time.perf_counter() - start:.1f} s"
    )
    if arguments.report is not None:
        say(f"{arguments.report}: the report")
    return 0
