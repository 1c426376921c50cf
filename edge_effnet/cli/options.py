"""Options that several verbs share, and what they become."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from edge_effnet.classifier import Classifier
from edge_effnet.cli.console import remark
from edge_effnet.cli.parsing import goes_with
from edge_effnet.decoding import DEFAULT_RULES, MAX_BYTES, MAX_PIXELS, TIFF, ImageRules
from edge_effnet.engines import ENGINES
from edge_effnet.errors import SlowEngineWarning, UnverifiedModelWarning, UsageError
from edge_effnet.label_files import read_labels
from edge_effnet.labels import remarks_on_labels
from edge_effnet.opening import PROBES
from edge_effnet.preprocessing import HALF, Preprocessing, Triple, resize_for_crop_pct, triple
from edge_effnet.unknown import UNKNOWN_MODES


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--engine and --threads."""
    parser.add_argument(
        "--engine",
        choices=("auto", *ENGINES),
        default="auto",
        help="what runs the model (default: what fits the file and is installed)",
    )
    threads = parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="engine threads (default: the cores there are, at most 4); numpy takes OPENBLAS_NUM_THREADS instead",
    )
    goes_with("with --engine numpy", threads, holds=lambda arguments: arguments.engine != "numpy")


def add_workers_option(parser: argparse.ArgumentParser) -> None:
    """--workers."""
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="photos worked on at a time (default: the cores there are, with one engine thread each); with 1, "
        "--threads gives a single photo all cores",
    )


def add_group_option(parser: argparse.ArgumentParser) -> None:
    """--group."""
    parser.add_argument(
        "--group",
        action="append",
        metavar="NAME=L,…",
        help="add the scores of these labels up, under one name; or a file with one such a line; may be repeated",
    )


def add_unknown_option(parser: argparse.ArgumentParser) -> None:
    """--unknown."""
    parser.add_argument(
        "--unknown",
        choices=UNKNOWN_MODES,
        default="auto",
        help="whether a photo may be called unknown: auto, where the file has learned it (default); off; or scores, "
        "for other files, by the scores alone, which tell less",
    )


def add_trust_options(parser: argparse.ArgumentParser) -> None:
    """--sha256 and --probe."""
    group = parser.add_argument_group("trust", "see SECURITY.md")
    group.add_argument("--sha256", metavar="HEX", help="refuse a model file that has another SHA-256")
    group.add_argument(
        "--probe",
        choices=PROBES,
        default="auto",
        help="try the model in a process of its own first (default auto: once for each file)",
    )


#: Range of a float file's input → mean and standard deviation of pixels in 0..1.
_RANGES: dict[str, tuple[Triple, Triple]] = {
    "0..255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def add_preprocessing_options(parser: argparse.ArgumentParser) -> None:
    """How to prepare photos for a file that doesn't say."""
    group = parser.add_argument_group("files of other makers", "how to prepare photos where the file doesn't say")
    group.add_argument(
        "--image-size", type=positive, metavar="N", help="side of the network's input; asks for the next two, too"
    )
    goes_with(
        "without --image-size N",
        group.add_argument("--mean", type=three, metavar="R,G,B", help="of pixels in 0..1 (default 0.5,0.5,0.5)"),
        group.add_argument("--std", type=three, metavar="R,G,B", help="of pixels in 0..1 (default 0.5,0.5,0.5)"),
        group.add_argument(
            "--input-range",
            choices=tuple(_RANGES),
            help="of the file's input, in place of --mean and --std: 0..255 as "
            "Keras' files take their pixels, or 0..1 (default -1..1)",
        ),
        group.add_argument(
            "--crop-pct", type=float, metavar="X", help="share of the resized photo that the crop keeps (default 1)"
        ),
        group.add_argument("--interpolation", choices=("bilinear", "bicubic"), help="of the resize (default bicubic)"),
    )


def add_decoding_option(parser: argparse.ArgumentParser) -> None:
    """--full-decode."""
    parser.add_argument(
        "--full-decode",
        dest="decoding",
        action="store_const",
        const="full",
        default="scaled",
        help="decode large JPEGs in full, as training did",
    )


#: What `add_image_options` adds, by the names argparse gives.
IMAGE_OPTIONS = ("max_pixels", "max_bytes", "allow_truncated", "allow_tiff")


def add_image_options(
    parser: argparse.ArgumentParser, *, others: str = "everything else is an error", needed: str | None = None
) -> None:
    """IMAGE_OPTIONS. others: what becomes of photos that they refuse. needed: for `goes_with`."""
    group = parser.add_argument_group("photos", f"what is decoded; {others}")
    actions = (
        group.add_argument(
            "--max-pixels",
            type=positive,
            default=MAX_PIXELS,
            metavar="N",
            help=f"largest photo, width · height (default {MAX_PIXELS:,})",
        ),
        group.add_argument(
            "--max-bytes",
            type=positive,
            default=MAX_BYTES,
            metavar="N",
            help=f"largest image file (default {MAX_BYTES:,})",
        ),
        group.add_argument("--allow-truncated", action="store_true", help="take what is there of files cut off early"),
        group.add_argument("--allow-tiff", action="store_true", help="read TIFF files, too"),
    )
    if needed is not None:
        goes_with(needed, *actions)


def image_rules_from(arguments: argparse.Namespace) -> ImageRules:
    """What the options say. Raises UsageError."""
    if not hasattr(arguments, "max_pixels"):
        return DEFAULT_RULES
    return ImageRules(
        formats=(*DEFAULT_RULES.formats, TIFF) if arguments.allow_tiff else DEFAULT_RULES.formats,
        max_pixels=arguments.max_pixels,
        max_bytes=arguments.max_bytes,
        truncated="accept" if arguments.allow_truncated else "refuse",
    )


def preprocessing_from(arguments: argparse.Namespace) -> Preprocessing | None:
    """What the options say, or None where they say nothing. Raises UsageError for a range beside mean or std."""
    size = arguments.image_size
    if size is None:
        return None
    if arguments.input_range is not None and (arguments.mean or arguments.std):
        raise UsageError(f"--input-range {arguments.input_range} says what --mean and --std say; expected one of them")
    mean, std = _RANGES.get(arguments.input_range, (HALF, HALF))
    return Preprocessing(
        resize=size if arguments.crop_pct is None else resize_for_crop_pct(size, arguments.crop_pct),
        crop=size,
        interpolation=arguments.interpolation or "bicubic",
        mean=arguments.mean or mean,
        std=arguments.std or std,
    )


def open_classifier(
    arguments: argparse.Namespace, model: str | Path | None, *, threads: int | None = None
) -> Classifier:
    """A Classifier as the shared options want it. threads: what --threads becomes beside --workers."""
    labels = read_labels(arguments.labels) if getattr(arguments, "labels", None) else None
    with warnings.catch_warnings(record=True) as caught:
        for category in (SlowEngineWarning, UnverifiedModelWarning):
            warnings.simplefilter("always", category)
        classifier = Classifier(
            model,
            engine=arguments.engine,
            threads=threads or arguments.threads,
            labels=labels,
            preprocessing=preprocessing_from(arguments),
            sha256=getattr(arguments, "sha256", None),
            probe=getattr(arguments, "probe", "auto"),
            decoding=getattr(arguments, "decoding", "scaled"),
            image_rules=image_rules_from(arguments),
            groups=_groups(arguments),
            unknown=getattr(arguments, "unknown", "auto"),
        )
    for warning in caught:
        remark(str(warning.message))
    for text in remarks_on_labels(labels):
        remark(text)
    return classifier


def _groups(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]] | None:
    if not getattr(arguments, "group", None):
        return None
    from edge_effnet.grouping import parse_groups

    return parse_groups(arguments.group)


_MOST_DIGITS = 10


def positive(text: str) -> int:
    """A whole number of at least 1, and at most a billion, for argparse."""
    value = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r:.40} is not a whole number of at least 1 (at most {_MOST_DIGITS} digits)"
        )
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def three(text: str) -> Triple:
    """Three numbers split by commas (one stands for all three), for argparse."""
    parts = text.split(",")
    try:
        return triple(parts * 3 if len(parts) == 1 else parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers like 0.485,0.456,0.406") from error


def image_size(text: str) -> tuple[int, int]:
    """(height, width) of "224" or "192x256", for argparse."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    return positive(height), positive(width or height)


def colour(text: str) -> tuple[int, int, int]:
    """Three whole numbers from 0 to 255 split by commas, for argparse."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is not a colour like 114,114,114")
    red, green, blue = map(int, parts)
    return red, green, blue


def fractions(text: str) -> tuple[float, ...]:
    """Numbers from 0 to 1 split by commas, for argparse."""
    return tuple(fraction(part) for part in text.split(","))


def names(text: str) -> list[str]:
    """Labels split by commas, for argparse."""
    return [name.strip() for name in text.split(",") if name.strip()]


def wants_json(arguments: argparse.Namespace) -> bool:
    """Whether to print JSON: as said, otherwise when a program reads the output."""
    return arguments.format == "json" or (arguments.format is None and not sys.stdout.isatty())
