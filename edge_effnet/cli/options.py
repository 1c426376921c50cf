"""Options that several verbs share, and what they become."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.cli.console import remark
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.preparation import how_prepared, preprocessing_from
from edge_effnet.cli.values import positive
from edge_effnet.decoding import DEFAULT_RULES, MAX_BYTES, MAX_PIXELS, TIFF, ImageRules
from edge_effnet.engines import ENGINES
from edge_effnet.errors import SlowEngineWarning, UnverifiedModelWarning
from edge_effnet.label_files import read_labels
from edge_effnet.labels import remarks_on_labels
from edge_effnet.opening import PROBES
from edge_effnet.preprocessing import Preprocessing
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


def open_classifier(
    arguments: argparse.Namespace,
    model: str | Path | None,
    *,
    threads: int | None = None,
    prepare: Callable[[argparse.Namespace, str | Path], Preprocessing | None] = preprocessing_from,
) -> Classifier:
    """A Classifier as the shared options want it. threads: what --threads becomes beside --workers. prepare: what the
    options say of a file's photos.
    """
    labels = read_labels(arguments.labels) if getattr(arguments, "labels", None) else None
    with warnings.catch_warnings(record=True) as caught:
        for category in (SlowEngineWarning, UnverifiedModelWarning):
            warnings.simplefilter("always", category)
        classifier = Classifier(
            model,
            engine=arguments.engine,
            threads=threads or arguments.threads,
            labels=labels,
            preprocessing=prepare(arguments, BUNDLED_MODEL if model is None else model),
            sha256=getattr(arguments, "sha256", None),
            probe=getattr(arguments, "probe", "auto"),
            decoding=getattr(arguments, "decoding", "scaled"),
            image_rules=image_rules_from(arguments),
            groups=_groups(arguments),
            unknown=getattr(arguments, "unknown", "auto"),
        )
    for warning in caught:
        remark(str(warning.message))
    if classifier.metadata is None:
        remark(how_prepared(classifier.preprocessing))
    for text in remarks_on_labels(labels):
        remark(text)
    return classifier


def _groups(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]] | None:
    if not getattr(arguments, "group", None):
        return None
    from edge_effnet.grouping import parse_groups

    return parse_groups(arguments.group)


def wants_json(arguments: argparse.Namespace) -> bool:
    """Whether to print JSON: as said, otherwise when a program reads the output."""
    return arguments.format == "json" or (arguments.format is None and not sys.stdout.isatty())
