"""`python -m edge_effnet.benchmarks.arm`: emulated Raspberry Pis that run the project's wheel and count its
instructions.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge_effnet.benchmarks.arm.counting import count_model
from edge_effnet.benchmarks.arm.emulator import (
    BOARDS,
    COUNTED,
    EmulationUnavailableError,
    Guest,
    build_wheel,
    default_folder,
    install,
    prepare,
)
from edge_effnet.benchmarks.arm.reference import Counts, differences, millions, read_reference, write_reference
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.images import expand_sources

_RESULTS = Path("benchmarks/results/arm.json")
_PHOTOS = Path("examples/photos")
_RENDER = "python -m edge_effnet.benchmarks.speed --render"
_ACCEPT = "python -m edge_effnet.benchmarks.arm check --update"


def main(words: Sequence[str] | None = None) -> int:
    """1 when a board's answers or counts aren't what they should be, 2 when nothing could be measured."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.run(arguments)
    except EmulationUnavailableError as error:
        if arguments.run is _check and not os.environ.get("CI"):
            print(f"arm: skipped, {error}", file=sys.stderr)
            return 0
        print(f"arm: error: {error}", file=sys.stderr)
        return 2
    except EdgeEffnetError as error:
        print(f"arm: error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.arm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    count = commands.add_parser("count", help="millions of instructions per inference of model files")
    count.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="a .tflite or .onnx file")
    count.add_argument("--board", action="append", choices=COUNTED, help="repeatable; default: both")
    count.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="NAME",
        help="keep the counts under this name, one a MODEL, in the results",
    )
    check = commands.add_parser("check", help="compare answers with this machine's and counts with the stored ones")
    check.add_argument("--update", action="store_true", help="store the counts instead of comparing with those stored")
    check.add_argument("--photos", type=Path, default=_PHOTOS, metavar="DIR", help="(default: %(default)s)")
    predict = commands.add_parser("predict", help="the best labels of `predict` there and here")
    predict.add_argument("photos", nargs="+", metavar="PHOTO")
    predict.add_argument("--board", choices=tuple(BOARDS), required=True)
    predict.add_argument("--model", type=Path, metavar="FILE", help="(default: the bundled one)")
    predict.add_argument("--engine", default="auto", metavar="NAME", help="of the board (default auto)")
    learn = commands.add_parser("learn", help="the best labels of new photos by what `learn` makes there and here")
    learn.add_argument("folder", type=Path, metavar="PHOTOS", help="a folder of photos for each class")
    learn.add_argument("photos", nargs="+", metavar="NEW", help="photos to recognise")
    learn.add_argument("--board", choices=tuple(BOARDS), required=True)
    learn.add_argument("--engine", default="numpy", metavar="NAME", help="of the board (default: numpy alone)")
    for command, run in ((count, _count), (check, _check), (predict, _predict), (learn, _learn)):
        command.set_defaults(run=run)
        command.add_argument(
            "--wheel", type=Path, metavar="FILE", help="of the project (default: built from this tree)"
        )
        command.add_argument(
            "--boards",
            type=Path,
            default=default_folder(),
            metavar="DIR",
            help="where boards are kept (default: %(default)s)",
        )
        command.add_argument(
            "--results", type=Path, default=_RESULTS, metavar="FILE", help="stored counts (default: %(default)s)"
        )
    return parser


@contextmanager
def _guests(boards: Sequence[str], arguments: argparse.Namespace) -> Iterator[list[Guest]]:
    """The boards with the wheel installed."""
    homes = {board: prepare(BOARDS[board].architecture, arguments.boards) for board in boards}
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or build_wheel(Path(folder))
        yield [install(board, homes[board], wheel) for board in boards]


def _count(arguments: argparse.Namespace) -> int:
    if arguments.record and len(arguments.record) != len(arguments.models):
        raise UsageError(
            f"{len(arguments.record)} --record for {len(arguments.models)} models; expected one a model, or none"
        )
    boards = arguments.board or list(COUNTED)
    with _guests(boards, arguments) as guests:
        print(
            f"millions of instructions per inference, one thread: {', '.join(BOARDS[board].title for board in boards)}"
        )
        for place, model in enumerate(arguments.models):
            found = [count_model(guest, model) for guest in guests]
            print(
                f"{model.name:<32}{'  '.join(f'{millions(count.inference):>9}' for count in found)}  {found[0].engine}",
                flush=True,
            )
            if arguments.record:
                row = {"size_bytes": model.stat().st_size, "engine": found[0].engine}
                _record(
                    arguments,
                    arguments.record[place],
                    row | {board: count.inference for board, count in zip(boards, found, strict=True)},
                )
    return 0


def _record(arguments: argparse.Namespace, name: str, row: dict[str, object]) -> None:
    results = read_reference(arguments.results)
    write_reference(arguments.results, {**results, "models": {**results.get("models", {}), name: row}})


def _check(arguments: argparse.Namespace) -> int:
    from edge_effnet.benchmarks.arm.check import measure

    photos = list(expand_sources([str(arguments.photos)]))
    with _guests(COUNTED, arguments) as guests:
        counts, problems = measure(guests, photos)
    _print(counts)
    for problem in problems:
        print(f"arm: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(
        f"arm: on {' and '.join(COUNTED)}, {len(photos)} photos have this machine's labels and, to the bit, its last "
        "int8 values"
    )
    return _store(arguments, counts) if arguments.update else _compare(arguments, counts)


def _print(counts: Counts) -> None:
    for board, programs in counts.items():
        for program, found in programs.items():
            print(
                f"{board}, {program}: {', '.join(f'{region} {millions(value)}' for region, value in found.items())} M "
                "instructions"
            )


def _store(arguments: argparse.Namespace, counts: Counts) -> int:
    write_reference(arguments.results, {**read_reference(arguments.results), "counts": counts})
    print(f"arm: stored in {arguments.results}; the page of it is made by {_RENDER}")
    return 0


def _compare(arguments: argparse.Namespace, counts: Counts) -> int:
    lines = differences(read_reference(arguments.results)["counts"], counts)
    for line in lines:
        print(f"arm: {line}", file=sys.stderr)
    if lines:
        print(f"arm: if the change is meant, accept it with: {_ACCEPT}", file=sys.stderr)
        return 1
    print("arm: all counts are within the tolerance of those stored")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from edge_effnet.benchmarks.arm.check import compare_predictions

    photos = list(expand_sources(arguments.photos))
    with _guests([arguments.board], arguments) as guests:
        return _agreement(
            compare_predictions(guests[0], photos, model=arguments.model, engine=arguments.engine), "top five"
        )


def _learn(arguments: argparse.Namespace) -> int:
    from edge_effnet.benchmarks.arm.learning import compare_learning

    photos = list(expand_sources(arguments.photos))
    with _guests([arguments.board], arguments) as guests:
        return _agreement(
            compare_learning(guests[0], arguments.folder, photos, engine=arguments.engine), "order of labels"
        )


def _agreement(rows: Sequence[tuple[str, list[str], list[str]]], what: str) -> int:
    """Prints them; 1 where a best label differs."""
    for name, here, there in rows:
        print(f"{name:<28} here {here[0]} · there {there[0]} · {what} {'the same' if here == there else 'differ'}")
    agreeing = sum(here[0] == there[0] for _, here, there in rows)
    print(f"{agreeing} of {len(rows)} best labels agree")
    return 0 if agreeing == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
