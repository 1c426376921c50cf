"""Where an int8 network's error comes from, tensor by tensor: expected, simulated, in LiteRT; on photos calibrated on
and on others.

    python -m edge_effnet.benchmarks.noise --model b0.pth:torchvision --calibration TRAIN --photos VALIDATION

With `--name` the study is kept in benchmarks/results/noise.json too, for docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.accuracy_measure import Network, load_network, rescaled, run_tflite
from edge_effnet.exporters.outputs.tflite import emit_tflite
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.files import write_atomically
from edge_effnet.framing import RESIZE_MODES
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Graph, Node
from edge_effnet.network.operators import run_node
from edge_effnet.numerics import QuantParams
from edge_effnet.preprocessing import INTERPOLATIONS
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.measure.simulate import fake_quantize, simulate
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.records import QuantizedGraph

Array = npt.NDArray[Any]
RESULTS = Path("benchmarks/results/noise.json")
_WORST = 3


@dataclass(frozen=True)
class Errors:
    """Of logits over some photos, in dB below the signal: all photos, without the mean error, the median photo.

    worst: share of the error that the three worst photos make, 0..1. agreement: share of photos with the same best
    class, 0..1.
    """

    db: float
    without_mean_db: float
    median_db: float
    worst: float
    agreement: float


def errors_of(exact: Array, found: Array) -> Errors:
    """exact, found: float[N, C], logits of the same photos."""
    moved = found.astype(np.float64) - exact
    signal, power = np.square(exact, dtype=np.float64).sum(axis=1).mean(), np.square(moved).sum(axis=1)
    centred = np.square(moved - moved.mean(axis=0)).sum(axis=1)
    return Errors(
        db=_db(signal, power.mean()),
        without_mean_db=_db(signal, centred.mean()),
        median_db=_db(signal, float(np.median(power))),
        worst=float(np.sort(power)[-_WORST:].sum() / max(power.sum(), 1e-300)),
        agreement=float(np.mean(exact.argmax(axis=1) == found.argmax(axis=1))),
    )


def _db(signal: float, noise: float) -> float:
    return round(10 * float(np.log10(signal / max(noise, 1e-300))), 2)


def alone(graph: Graph, images: Sequence[Array], activations: Mapping[str, QuantParams], tensor: str) -> Array:
    """float[N, C]: the logits with this one tensor rounded."""

    def run(node: Node, inputs: list[Array]) -> Array:
        found = run_node(node, inputs)
        return fake_quantize(found, activations[tensor]) if node.name == tensor else found

    return np.concatenate([execute(graph, image, run=run) for image in images])


def study(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    network = _network(arguments)
    calibration = draw_calibration_set(arguments.calibration, network.preprocessing, limit=arguments.images, seed=0)
    others = draw_calibration_set(arguments.photos, network.preprocessing, limit=arguments.new, seed=1)
    quantized, trace = quantize(network.graph, calibration)
    image = quantized.activations[network.graph.input_name]
    sets = {
        "calibrated": [network_input(pixels, image) for pixels in calibration.subset(slice(0, arguments.new))],
        "new": [network_input(pixels, image) for pixels in others],
    }
    exact = {name: np.concatenate([execute(trace.graph, x) for x in images]) for name, images in sets.items()}
    content = emit_tflite(quantized, replace(network.document, precision="int8"))
    signal = np.square(exact["new"], dtype=np.float64).sum(axis=1).mean()
    return {
        "expected_db": _db(signal, sum(trace.noise.values())),
        "simulated": {name: asdict(errors_of(exact[name], _simulated(quantized, sets[name]))) for name in sets},
        "litert": asdict(errors_of(exact["new"], run_tflite(content, np.stack(list(others))))),
        "tensors": _tensors(trace.graph, quantized, trace.noise, sets, exact, most=arguments.tensors),
        "photos": {"drawn": len(calibration), **{name: len(images) for name, images in sets.items()}},
    }


def _network(arguments: argparse.Namespace) -> Network:
    checkpoint, _, source = arguments.model.partition(":")
    prepared = PreprocessingOptions(mode=arguments.resize_mode, interpolation=arguments.interpolation)
    network = load_network("network", checkpoint, source or None, None, prepared=prepared)
    return replace(network, graph=rescaled(network.graph, seed=0)) if arguments.rescaled else network


def _simulated(quantized: QuantizedGraph, images: Sequence[Array]) -> Array:
    return np.concatenate([simulate(quantized, image) for image in images])


def _tensors(
    graph: Graph,
    quantized: QuantizedGraph,
    noise: Mapping[str, float],
    sets: Mapping[str, Sequence[Array]],
    exact: Mapping[str, Array],
    *,
    most: int,
) -> list[dict[str, Any]]:
    """The tensors with the most expected noise, each rounded alone."""
    signal = np.square(exact["new"], dtype=np.float64).sum(axis=1).mean()
    rows = []
    for name in sorted(noise, key=lambda found: -noise[found])[:most]:
        found = {
            kind: errors_of(exact[kind], alone(graph, images, quantized.activations, name)).db
            for kind, images in sets.items()
        }
        rows.append({"tensor": name, "expected_db": _db(signal, noise[name]), **found})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the study as JSON, and keeps it where it has a name."""
    arguments = _parser().parse_args(argv)
    found = study(arguments)
    print(json.dumps(found, indent=2))
    if arguments.name:
        text = json.dumps({**read_studies(arguments.results), arguments.name: found}, indent=1, ensure_ascii=False)
        write_atomically(arguments.results, f"{text}\n".encode())
    return 0


def read_studies(path: Path) -> dict[str, Any]:
    """Name → study, of those that were kept; {} where there is no file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.noise", description=__doc__)
    parser.add_argument("--model", metavar="CHECKPOINT[:SOURCE]", required=True)
    parser.add_argument("--calibration", metavar="DIR", type=Path, required=True)
    parser.add_argument("--photos", metavar="DIR", type=Path, required=True, help="others than those calibrated on")
    parser.add_argument(
        "--resize-mode", choices=RESIZE_MODES, help="how the network was trained, where not as published"
    )
    parser.add_argument("--interpolation", choices=INTERPOLATIONS["pillow"], help="the same of its resize")
    parser.add_argument("--rescaled", action="store_true", help="with its bottleneck channels multiplied at random")
    parser.add_argument("--images", metavar="N", type=int, default=256, help="photos to calibrate on (256)")
    parser.add_argument("--new", metavar="N", type=int, default=48, help="photos to measure on, of either kind (48)")
    parser.add_argument("--tensors", metavar="N", type=int, default=20, help="how many tensors to round alone (20)")
    parser.add_argument("--name", metavar="TEXT", help="keep the study under this name")
    parser.add_argument("--results", metavar="FILE", type=Path, default=RESULTS, help="where (default: %(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
