"""`edge-effnet bench`: how long each stage takes, for any models, engines and thread counts on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_effnet.benching.plot import plot, require_matplotlib
from edge_effnet.benching.rows import STAGES, list_cases, measure
from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import BUNDLED_MODEL, default_threads
from edge_effnet.cli.console import remark, say, write
from edge_effnet.cli.options import wants_json
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.preparation import add_preprocessing_options, preprocessing_where_unsaid
from edge_effnet.cli.progress import StageBars
from edge_effnet.cli.values import positive
from edge_effnet.engines import ENGINES
from edge_effnet.errors import UsageError
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.preprocessing import decode
from edge_effnet.text import json_text

_RUNS, _WARMUP = 50, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=".tflite or .onnx files (default: the bundled EfficientNet-Lite0)"
    )
    parser.add_argument("--image", metavar="FILE", help="the photo to classify (default: a made-up JPEG of 640×480)")
    parser.add_argument(
        "--runs", type=positive, default=_RUNS, metavar="N", help=f"timed runs of each (default {_RUNS})"
    )
    parser.add_argument(
        "--warmup", type=_count, default=_WARMUP, metavar="N", help=f"runs of each before them (default {_WARMUP})"
    )
    threads = parser.add_argument(
        "--threads",
        type=_counts,
        metavar="N,…",
        help="thread counts to try (default: 1, and the cores there are, at most 4)",
    )
    goes_with("with --engine numpy alone", threads, holds=lambda arguments: arguments.engine != ["numpy"])
    parser.add_argument(
        "--workers",
        type=_counts,
        default=[1],
        metavar="N,…",
        help="photos at a time to try, with one engine thread each where there are several (default 1)",
    )
    parser.add_argument(
        "--engine",
        type=_engines,
        default=["auto"],
        metavar="NAME,…",
        help=f"engines to try: auto, {', '.join(ENGINES)} (default auto)",
    )
    parser.add_argument(
        "--format", choices=("text", "json"), help="of the output (default: text on a terminal, JSON otherwise)"
    )
    parser.add_argument(
        "--plot", metavar="FILE.svg", help="also draw latency against recorded accuracy, or against file size"
    )
    add_preprocessing_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints one row per model, engine, thread count and number of workers."""
    if arguments.plot is not None:
        check_outputs({"--plot": arguments.plot}, {"a model": arguments.models, "the photo": arguments.image})
        _check_plot(arguments.plot)
    threads = arguments.threads or sorted({1, default_threads()})
    cases = list_cases(arguments.models or [str(BUNDLED_MODEL)], arguments.engine, threads, workers=arguments.workers)
    with tempfile.TemporaryDirectory() as folder, StageBars() as bars:
        image, name = _image(arguments.image, Path(folder))
        done, total = [0], arguments.runs * len(cases)

        def after_turn(count: int) -> None:
            done[0] += count
            bars("runs", done[0], total)

        rows = measure(
            cases,
            image,
            image_name=name,
            runs=arguments.runs,
            warmup=arguments.warmup,
            preprocessing={case.model: preprocessing_where_unsaid(arguments, case.model) for case in cases},
            after_turn=after_turn,
        )
    for warning in rows[0]["warnings"]:
        remark(warning)
    if wants_json(arguments):
        write(json_text(rows, indent=1) + "\n")
    else:
        _print_table(rows)
    if arguments.plot is not None:
        write_atomically(arguments.plot, plot(rows))
    return 0


def _check_plot(path: str) -> None:
    if Path(path).suffix.lower() != ".svg":
        raise UsageError(f"--plot {path}: expected a name ending in .svg")
    require_writable_folder(path)
    require_matplotlib()


def _image(given: str | None, folder: Path) -> tuple[Path, str]:
    """The photo's path and what to call it; one that can't be read is refused before anything is measured."""
    if given is not None:
        width, height = decode(given).size
        return Path(given).resolve(), f"{Path(given).name}, {width}×{height}"
    from edge_effnet.benching.photo import NAME, made_up_photo

    path = folder / "photo.jpg"
    path.write_bytes(made_up_photo())
    return path, NAME


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    first = rows[0]
    machine = first["machine"]
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    say(
        f"{machine['model'] or machine['cpu'] or machine['architecture']}, {cores}, governor "
        f"{machine['governor'] or 'unknown'}; {first['image']}"
    )
    say(f"{first['runs']} runs by turns; ms, medians (inference and total: median / 90th percentile)")
    columns = ("model", "engine", "threads", "workers", *STAGES, "photos/s", "load ms", "peak MB")
    table = [columns, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        say(
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    stages = (row[f"{stage}_ms"] for stage in STAGES)
    shown = [
        f"{found['p50']:.2f}" + (f" / {found['p90']:.2f}" if stage in ("inference", "total") else "")
        for stage, found in zip(STAGES, stages, strict=True)
    ]
    return (
        Path(row["model"]).name,
        row["engine"],
        str(row["threads"]),
        str(row["workers"]),
        *shown,
        f"{row['photos_per_s']:.1f}",
        f"{row['load_ms']:.1f}",
        f"{row['peak_rss_mb']:.0f}",
    )


def _count(text: str) -> int:
    """A whole number, 0 or more, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _counts(text: str) -> list[int]:
    """Whole numbers split by commas, for argparse; each once."""
    return list(dict.fromkeys(positive(part.strip()) for part in text.split(",")))


def _engines(text: str) -> list[str]:
    """Engine names split by commas, for argparse; each once."""
    named = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in named:
        if name not in ("auto", *ENGINES):
            raise argparse.ArgumentTypeError(f"{name!r} is unknown; expected auto, {', '.join(ENGINES)}")
    return named
