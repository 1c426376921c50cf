"""`python -m edge_effnet.benchmarks.accuracy`: what int8 costs, stage by stage and against the peers, on labelled
photos.

Results are added to a JSON file (a figure measured again replaces the old one), and rendered from there into a page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_effnet.benchmarks.accuracy_measure import (
    Fold,
    Network,
    Reference,
    ablation,
    figures,
    load_network,
    make_reference,
    measure_max_drop,
    measure_recipe,
    measure_refined,
    peer_arrays,
    rescaled,
    separate_fold,
    swapped_halves,
    top1_percent,
)
from edge_effnet.benchmarks.accuracy_peers import PEERS, run
from edge_effnet.benchmarks.accuracy_render import render
from edge_effnet.benchmarks.accuracy_results import WAYS, add_figures, add_network, read_results
from edge_effnet.benchmarks.environments import PeerError, prepare, versions
from edge_effnet.benchmarks.noise import read_studies
from edge_effnet.datasets import read_dataset
from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.files import require_writable_folder, write_atomically
from edge_effnet.framing import RESIZE_MODES
from edge_effnet.label_files import read_labels
from edge_effnet.machine import machine_facts
from edge_effnet.preprocessing import INTERPOLATIONS

#: What describes the place rather than the measurement.
_PRIVATE_FACTS = ("system", "temperature_c", "frequency_mhz", "throttled", "governor", "model")
_RESULTS = Path("benchmarks/results/accuracy.json")
_RESCALED = {"rescaled-default": "default", "rescaled-plain": "plain"}


@dataclass(frozen=True)
class Task:
    """A network and a fold, with what every way of quantizing it shares."""

    network: Network
    fold: Fold
    reference: Reference
    images: int
    seed: int
    venvs: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what the options name, writes the results after every figure, renders them on request."""
    arguments = _parser().parse_args(argv)
    try:
        _work(arguments)
    except EdgeEffnetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.accuracy", description=__doc__)
    parser.add_argument(
        "--model",
        metavar="NAME=CHECKPOINT[:SOURCE]",
        action="append",
        default=[],
        help="what to measure; may be given several times",
    )
    parser.add_argument("--data", metavar="DIR", help="labelled photos: class folders, or a folder with labels.csv")
    parser.add_argument(
        "--labels", metavar="FILE", help="class names, one a line, where class folders are named by them"
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="photos to calibrate on, none of them in --data; without it, halves of --data, swapped",
    )
    parser.add_argument(
        "--resize-mode", choices=RESIZE_MODES, help="how the network was trained, where not as its variant is published"
    )
    parser.add_argument("--interpolation", choices=INTERPOLATIONS["pillow"], help="the same of its resize")
    parser.add_argument(
        "--calibration-images", type=int, default=256, metavar="N", help="how many are drawn at most (default 256)"
    )
    parser.add_argument(
        "--ways", default="all", metavar="WAY,…", help=f"all, or some of {', '.join(WAYS)} (default: all)"
    )
    parser.add_argument("--keep", action="store_true", help="leave out what the results hold already")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the halves, the photos drawn and the rescaling (default 0)"
    )
    parser.add_argument(
        "--weights-origin", default="", metavar="TEXT", help="where the weights are published, for the page"
    )
    parser.add_argument(
        "--data-origin", default="", metavar="TEXT", help="where the photos are published, for the page"
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path.home() / ".cache" / "edge-effnet-peers",
        metavar="DIR",
        help="where the peers' environments lie",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("benchmarks/results/accuracy.json"),
        metavar="FILE",
        help="results to add to (default: %(default)s)",
    )
    parser.add_argument(
        "--render",
        type=Path,
        nargs="?",
        const=Path("docs/accuracy.md"),
        metavar="FILE",
        help="write the page (default: %(const)s)",
    )
    return parser


def _work(arguments: argparse.Namespace) -> None:
    if not arguments.model and arguments.render is None:
        raise UsageError("nothing to do; expected --model NAME=CHECKPOINT[:SOURCE] with --data DIR, or --render")
    require_writable_folder(arguments.results)
    for text in arguments.model:
        for way, task, found in _measure(text, arguments):
            _record(arguments, task, way, found)
            print(f"{task.network.name}, {task.fold.name}, {way}: {found}", flush=True)
    if arguments.render is not None:
        studies = read_studies(arguments.results.with_name("noise.json"))
        write_atomically(arguments.render, render(read_results(arguments.results), studies).encode())


def _record(arguments: argparse.Namespace, task: Task, way: str, found: dict[str, Any]) -> None:
    """Adds a way's figures to the file, which is read anew: another process may measure another network meanwhile."""
    results = read_results(arguments.results)
    results = add_network(
        results, task.network, weights_origin=arguments.weights_origin, data_origin=arguments.data_origin
    )
    results = add_figures(results, _fold_facts(task), way, found)
    results["machine"] = {key: value for key, value in machine_facts().items() if key not in _PRIVATE_FACTS}
    write_atomically(arguments.results, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def _measure(text: str, arguments: argparse.Namespace) -> Iterator[tuple[str, Task, dict[str, Any]]]:
    """Way, task and figures, one after the other, for a `--model`."""
    if arguments.data is None:
        raise UsageError("--model goes with --data DIR, the labelled photos to measure on")
    name, checkpoint, source = parse_model(text)
    labels = read_labels(arguments.labels) if arguments.labels else None
    prepared = PreprocessingOptions(mode=arguments.resize_mode, interpolation=arguments.interpolation)
    network = load_network(name, checkpoint, source, labels, prepared=prepared)
    dataset = read_dataset(arguments.data, num_classes=network.document.num_classes, labels=labels)
    known = read_results(arguments.results)
    folds = (
        (separate_fold(arguments.calibration, dataset),)
        if arguments.calibration
        else swapped_halves(dataset, seed=arguments.seed)
    )
    for fold in folds:
        wanted = [
            way for way in parse_ways(arguments.ways) if not (arguments.keep and _is_known(known, name, fold, way))
        ]
        if not wanted:
            continue
        task = Task(
            network, fold, make_reference(network, fold), arguments.calibration_images, arguments.seed, arguments.peers
        )
        for way in wanted:
            yield way, task, measure_way(task, way)


def measure_way(task: Task, way: str) -> dict[str, Any]:
    """The figures of one way, or why it couldn't be measured."""
    if way in PEERS:
        return _measure_peer(task, way)
    if way == "max-drop":
        return measure_max_drop(task.network, task.fold, task.reference, images=task.images, seed=task.seed)
    if way == "refined":
        return measure_refined(task.network, task.fold, task.reference, images=task.images, seed=task.seed)
    network, recipe = task.network, ablation()[_RESCALED.get(way, way)]
    if way in _RESCALED:
        network = replace(network, graph=rescaled(network.graph, seed=task.seed))
    return measure_recipe(network, task.fold, task.reference, recipe, images=task.images, seed=task.seed)


def _measure_peer(task: Task, name: str) -> dict[str, Any]:
    from edge_effnet.exporters.outputs.onnx import emit_onnx
    from edge_effnet.quantization.records import QuantizedGraph

    try:
        python = prepare(name, PEERS[name], task.venvs)
        model = emit_onnx(QuantizedGraph(task.network.graph), task.network.document)
        logits, seconds = run(
            name,
            python,
            model,
            peer_arrays(task.network, task.fold, task.reference, images=task.images, seed=task.seed),
        )
    except PeerError as error:
        return {"not_measured": str(error)}
    found = figures(logits, task.reference)
    return {**vars(found), "seconds": round(seconds, 1), "versions": versions(PEERS[name], python)}


def parse_model(text: str) -> tuple[str, str, str | None]:
    """Name, checkpoint and source of `NAME=CHECKPOINT[:SOURCE]`. Raises UsageError."""
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise UsageError(f"--model {text!r}; expected NAME=CHECKPOINT[:SOURCE]")
    if Path(rest).exists():
        return name, rest, None
    checkpoint, colon, source = rest.rpartition(":")
    return (name, checkpoint, source) if colon else (name, rest, None)


def parse_ways(text: str) -> list[str]:
    """The ways that a comma-separated list names, in the order of the page. Raises UsageError for an unknown one."""
    if text == "all":
        return list(WAYS)
    named = text.split(",")
    unknown = [way for way in named if way not in WAYS]
    if unknown:
        raise UsageError(f"--ways {unknown[0]!r} is unknown; expected all, or some of {', '.join(WAYS)}")
    return [way for way in WAYS if way in named]


def _is_known(results: dict[str, Any], name: str, fold: Fold, way: str) -> bool:
    found = (run["ways"].get(way) for run in results["runs"] if (run["model"], run["fold"]) == (name, fold.name))
    return any(figure is not None and "not_measured" not in figure for figure in found)


def _fold_facts(task: Task) -> dict[str, Any]:
    return {
        "model": task.network.name,
        "fold": task.fold.name,
        "calibration_images": min(task.images, len(task.fold.calibration)),
        "evaluation_images": len(task.fold.evaluation),
        "seed": task.seed,
        "float_top1": top1_percent(task.reference.logits, task.reference.truth),
    }


if __name__ == "__main__":
    sys.exit(main())
