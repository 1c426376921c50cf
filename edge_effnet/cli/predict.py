"""`edge-effnet predict`: classify files, folders, globs or standard input."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_effnet.clashes import check_outputs, check_save_folder
from edge_effnet.cli.console import complain, remark, standard_input, write
from edge_effnet.cli.options import (
    add_decoding_option,
    add_engine_options,
    add_group_option,
    add_image_options,
    add_trust_options,
    add_unknown_option,
    add_workers_option,
    open_classifier,
)
from edge_effnet.cli.output import FORMATS, Result, Write, make_printer
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.preparation import add_preprocessing_options
from edge_effnet.cli.progress import with_progress
from edge_effnet.cli.values import fraction, names, positive
from edge_effnet.errors import ImageError, OutputError, UsageError
from edge_effnet.files import require_writable_folder, writing_atomically
from edge_effnet.images import is_pattern, look_up
from edge_effnet.labels import UNKNOWN
from edge_effnet.many import Classifiers, split_cores, spread
from edge_effnet.prediction import Prediction
from edge_effnet.text import csv_cell, printable

if TYPE_CHECKING:
    from edge_effnet.classifier import Classifier
    from edge_effnet.heatmap import HeatmapMaker

_STANDARD_INPUT = "-"
_FOR_THE_LEAD = 2


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
        "--threshold", type=fraction, metavar="X", help="lowest score to show, 0 to 1 (default 0, or the file's own)"
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    parser.add_argument("--allow", type=names, metavar="L,…", help="show only these labels (names or indices)")
    parser.add_argument("--deny", type=names, metavar="L,…", help="never show these labels")
    add_group_option(parser)
    add_unknown_option(parser)
    parser.add_argument(
        "--margin",
        type=fraction,
        metavar="X",
        help="call a photo uncertain whose best class leads the second by less, 0 to 1",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the output (default text)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the output there instead, whole or not at all")
    raw = parser.add_argument(
        "--raw-csv",
        dest="cell",
        action="store_const",
        const=printable,
        default=csv_cell,
        help="leave out the ' before cells of CSV that a spreadsheet would take for formulas",
    )
    goes_with("without --format csv", raw)
    parser.add_argument("--save", metavar="DIR", help="write annotated copies of the photos there")
    parser.add_argument(
        "--heatmap", metavar="DIR", help="write pictures there of what in each photo speaks for its best class"
    )
    recursive = parser.add_argument(
        "--recursive",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="search the folders below a folder, too (default)",
    )
    goes_with("without a folder or pattern", recursive, holds=_searches)
    parser.add_argument(
        "--skip-errors", action="store_true", help="end with status 0 though photos couldn't be read; they are reported"
    )
    add_engine_options(parser)
    add_workers_option(parser)
    add_trust_options(parser)
    add_decoding_option(parser)
    add_image_options(parser)
    add_preprocessing_options(parser)


def _searches(arguments: argparse.Namespace) -> bool:
    """Whether a source may have folders below it."""
    return any(Path(source).is_dir() or is_pattern(source) for source in arguments.sources)


def run(arguments: argparse.Namespace) -> int:
    """Prints the predictions; 2 when a source couldn't be read."""
    sources = list(_sources(arguments))
    _check_outputs(arguments, [image for _, image in sources])
    workers, threads = split_cores(arguments.workers, arguments.threads, photos=len(sources))
    with (
        open_classifier(arguments, arguments.model, threads=threads) as classifier,
        _writer(arguments.output) as write_text,
    ):
        classifier.class_indices(
            allow=arguments.allow, deny=arguments.deny
        )  # a wrong label ends the run before it begins
        printer = make_printer(arguments.format, write_text, cell=arguments.cell)
        failed = 0
        work = partial(_classify, arguments, {})
        with spread((classifier,), work, sources, workers=workers) as results:
            for result, copies in with_progress(results, total=len(sources), what="photos"):
                failed += _deal_with(result, copies, arguments)
                printer.add(result)
        printer.finish()
    if failed:
        remark(f"{failed:,} of {len(sources):,} failed")
    return 2 if failed and not arguments.skip_errors else 0


def _check_outputs(arguments: argparse.Namespace, images: Sequence[Any]) -> None:
    if arguments.output:
        check_outputs({"-o": arguments.output}, {"a photo": images, "the model": arguments.model})
        require_writable_folder(arguments.output)
    for option in ("save", "heatmap"):
        if folder := getattr(arguments, option):
            check_save_folder(f"--{option}", folder, images)
            _make_folder(Path(folder))
    if arguments.heatmap and arguments.save and Path(arguments.heatmap).resolve() == Path(arguments.save).resolve():
        raise UsageError(f"--save and --heatmap {arguments.heatmap} are the same folder; give each its own")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror or error}") from error
    require_writable_folder(folder / "photo")


@contextlib.contextmanager
def _writer(output: str | None) -> Iterator[Write]:
    """What writes to standard output, or to the file that is written in its stead."""
    if output is None:
        yield write
        return
    with (
        writing_atomically(output) as file,
        open(file, "w", encoding="utf-8", errors="backslashreplace", newline="", closefd=False) as stream,
    ):
        yield stream.write


def _sources(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """(name, image) of every source; standard input is read once, and no further than the limit shows to be passed.

    What of a folder isn't read is said.
    """
    given = arguments.sources
    if given.count(_STANDARD_INPUT) > 1:
        raise UsageError("standard input (-) stands twice among the sources; it can be read once")
    for name in given:
        if name == _STANDARD_INPUT:
            yield name, standard_input().read(arguments.max_bytes + 1)
            continue
        found = look_up(name, depth="recursive" if arguments.recursive else "flat")
        if found.remark:
            remark(f"{name}: {found.remark}")
        yield from ((str(path), path) for path in found.images)


def _classify(
    arguments: argparse.Namespace,
    makers: dict[Classifier, HeatmapMaker],
    classifiers: Classifiers,
    source: tuple[str, Any],
) -> tuple[Result, Mapping[str, bytes]]:
    """A source's result and, by folder, the pictures that --save and --heatmap want; several sources at a time.

    makers: filled here, one a classifier.
    """
    (classifier,), (name, image) = classifiers, source
    try:
        ranked = classifier.predict(
            image, top_k=max(arguments.top_k, _FOR_THE_LEAD), allow=arguments.allow, deny=arguments.deny
        )
    except ImageError as error:
        return {"source": name, "status": "error", "error": str(error)}, {}
    lowest = float(np.float32(arguments.threshold or 0.0))  # as scores are
    found = [one for one in ranked[: arguments.top_k] if one.score >= lowest]
    lead = ranked[0].score - (ranked[1].score if len(ranked) > 1 else 0.0)
    uncertain = arguments.margin is not None and lead < arguments.margin
    result = {
        "source": name,
        "status": _status(found, uncertain=uncertain),
        "model": str(classifier.model_path),
        "engine": classifier.engine,
        **({} if arguments.margin is None else {"lead": round(lead, 6)}),
        "predictions": [asdict(prediction) for prediction in found],
        **({} if classifier.unknown is None else {"unknown": classifier.unknown.to_dict()}),
        "timing_ms": {stage: round(value, 3) for stage, value in classifier.timing_ms.items()},
    }
    copies = {}
    if arguments.heatmap:
        from edge_effnet.heatmap import HeatmapMaker, heatmap_jpeg

        maker = makers.setdefault(classifier, makers.get(classifier) or HeatmapMaker(classifier))
        heatmap = maker.of(image, index=ranked[0].index if ranked[0].label != UNKNOWN else None)
        result["heatmap"] = heatmap.to_dict()
        copies[arguments.heatmap] = heatmap_jpeg(classifier, image, heatmap)
    if arguments.save:
        from edge_effnet.cli.annotate import annotated

        copies[arguments.save] = annotated(image, found, rules=classifier.image_rules)
    return result, copies


def _status(found: Sequence[Prediction], *, uncertain: bool) -> str:
    """One of `output.STATUSES`."""
    if not found:
        return "none above"
    if uncertain:
        return "uncertain"
    return "unknown" if found[0].label == UNKNOWN else "ok"


def _deal_with(result: Result, copies: Mapping[str, bytes], arguments: argparse.Namespace) -> bool:
    """What is done in order, one source after the other; whether the source couldn't be read."""
    failed = result["status"] == "error"
    if failed and (arguments.format != "text" or arguments.output):  # as text it stands in its place on the screen
        complain(result["error"])
    for folder, copy in copies.items():
        from edge_effnet.cli.annotate import save_copy

        save_copy(copy, result["source"], Path(folder))
    return failed
