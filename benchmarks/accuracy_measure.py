"""What the quantizer's choices do to a network's answers: folds, ablation, rescaled networks, figures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edge_effnet.datasets import LabelledImage
from edge_effnet.engines import Session, open_session
from edge_effnet.errors import UsageError
from edge_effnet.exporters.calibrated import calibrate, part_photos
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.exporters.max_drop import HELD_OUT_PHOTOS, check_held_out, keep_within
from edge_effnet.exporters.order import order_channels
from edge_effnet.exporters.outputs.tflite import emit_tflite
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.images import find_images
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Conv2D, FloatArray, Graph
from edge_effnet.network.rewrite import rescale_chain
from edge_effnet.network.structure import find_chains
from edge_effnet.preprocessing import Preprocessing, decode
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.recipe import PLAIN, Recipe
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.refine import DEFAULT_MINUTES, refine

T = TypeVar("T")
#: Exponents of two by which `rescaled` multiplies channels: 1/32 to 32.
_MOST_DOUBLINGS = 5
_DECIMALS = 2
#: What `--max-drop` is measured with; turns of timing, and runs in each.
_MAX_DROP, _TURNS, _RUNS_A_TURN = 0.3, 40, 5

_AS_PUBLISHED = PreprocessingOptions()


def ablation() -> dict[str, Recipe]:
    """Way → recipe: plain int8, then each stage added to those before it; the last is the default recipe."""
    changes: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("plain", {}),
        ("ranges", {"ranges": "mse"}),
        ("channel-weights", {"weigh_channels": True}),
        ("equalisation", {"equalise": True, "swishes": True, "gates": True}),
        ("lanes", {"lanes": Recipe().lanes}),
        ("rounding", {"rounding": "output"}),
        ("bias-weights", {"bias_correction": "weights"}),
        ("bias-activations", {"bias_correction": "weights-and-activations"}),
        ("floats", {"floats": True}),
        ("coherent", {"coherent": True}),
        ("default", {"output_shift": True}),
    )
    recipe, recipes = PLAIN, {}
    for name, change in changes:
        recipe = replace(recipe, **change)
        recipes[name] = recipe
    return recipes


@dataclass(frozen=True, eq=False)
class Network:
    """A checkpoint as a float graph, with how its photos are prepared and where it came from."""

    name: str
    graph: Graph
    document: ModelDocument

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the photos."""
        return self.document.preprocessing


@dataclass(frozen=True)
class Fold:
    """Photos to calibrate on and other photos to measure on."""

    name: str
    calibration: tuple[Path, ...]
    evaluation: tuple[LabelledImage, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """A fold's photos as uint8[N, S, S, 3], their classes, and the float network's logits float32[N, C]."""

    pixels: npt.NDArray[np.uint8]
    truth: tuple[frozenset[int], ...]
    logits: FloatArray


@dataclass(frozen=True)
class Figures:
    """Percent of photos right (top1) and answered as the float network answers them (agreement); logit SQNR in dB."""

    top1: float
    agreement: float
    sqnr_db: float


def load_network(
    name: str,
    checkpoint: str,
    source: str | None,
    labels: Sequence[str] | None,
    *,
    prepared: PreprocessingOptions = _AS_PUBLISHED,
) -> Network:
    """The float graph of a checkpoint at its variant's image size. prepared: how it was trained, where not as
    published.
    """
    found = network_of(load_checkpoint(checkpoint), InputOptions(source=source))
    document = ModelDocument(
        variant=found.architecture or name,
        image_size=found.image_size,
        num_classes=found.output_size,
        labels=None if labels is None else tuple(labels),
        preprocessing=resolve_preprocessing(found.preprocessing, prepared),
        precision="fp32",
        source={"dialect": found.origin.dialect, "sha256": found.origin.sha256},
    )
    return Network(name, order_channels(found.graph), document)


def split_halves(items: Sequence[T], *, seed: int) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Two parts without a common item, drawn by `seed`, each in the order of `items`; the second has an odd one
    more.
    """
    order = np.random.default_rng(seed).permutation(len(items))
    middle = len(items) // 2
    first, second = (tuple(items[index] for index in sorted(part)) for part in (order[:middle], order[middle:]))
    return first, second


def swapped_halves(dataset: Sequence[LabelledImage], *, seed: int) -> tuple[Fold, Fold]:
    """Calibrate on one half and measure on the other, and the other way round."""
    first, second = split_halves(dataset, seed=seed)
    return Fold("first half → second half", _paths(first), second), Fold(
        "second half → first half", _paths(second), first
    )


def separate_fold(folder: str, dataset: Sequence[LabelledImage]) -> Fold:
    """Calibrate on a folder of photos of its own, measure on all labelled ones."""
    return Fold("calibration folder → all", tuple(find_images(Path(folder))), tuple(dataset))


def _paths(items: Sequence[LabelledImage]) -> tuple[Path, ...]:
    return tuple(item.path for item in items)


def rescaled(graph: Graph, *, seed: int) -> Graph:
    """The same function with each bottleneck channel multiplied by a power of two between 1/32 and 32, drawn by `seed`.

    What a projection's batch normalisation multiplies, the next layers' weights divide, along whole residual chains.
    Powers of two change no rounding.
    """
    generator = np.random.default_rng(seed)
    for chain in find_chains(graph):
        maker = graph.by_name()[chain.makers[0]]
        if isinstance(maker, Conv2D):
            exponents = generator.integers(-_MOST_DOUBLINGS, _MOST_DOUBLINGS + 1, len(maker.bias))
            graph = rescale_chain(graph, chain, 2.0**exponents)
    return graph


def make_reference(network: Network, fold: Fold) -> Reference:
    """Decodes the photos to measure on, and runs the float `.tflite` file on them."""
    pixels = np.stack([network.preprocessing.pixels(decode(item.path)) for item in fold.evaluation])
    content = emit_tflite(QuantizedGraph(network.graph), network.document)
    logits = run_tflite(content, (network.preprocessing.normalise(photo) for photo in pixels))
    return Reference(pixels, tuple(item.classes for item in fold.evaluation), logits)


def measure_recipe(
    network: Network, fold: Fold, reference: Reference, recipe: Recipe, *, images: int, seed: int
) -> dict[str, Any]:
    """Figures of the int8 `.tflite` file that the recipe makes, and the seconds that quantizing took."""
    photos = draw_calibration_set(fold.calibration, network.preprocessing, limit=images, seed=seed)
    started = time.perf_counter()
    quantized, trace = quantize(network.graph, photos, recipe=recipe, seed=seed)
    seconds = time.perf_counter() - started
    expected = expected_db(reference.logits, trace.noise)
    return {
        **_figures_of(quantized, network, reference),
        "quantize_seconds": round(seconds, 1),
        "expected_db": expected,
    }


def measure_refined(
    network: Network,
    fold: Fold,
    reference: Reference,
    *,
    images: int,
    seed: int,
    minutes: float = DEFAULT_MINUTES,
) -> dict[str, Any]:
    """Figures of the file that `export` makes when neither `--quick` nor minutes are said."""
    photos = draw_calibration_set(fold.calibration, network.preprocessing, limit=images, seed=seed)
    started = time.perf_counter()
    quantized, trace = quantize(network.graph, photos, seed=seed)
    refined, record = refine(quantized, trace.graph, photos=photos, minutes=minutes, seed=seed)
    seconds = time.perf_counter() - started
    return {
        **_figures_of(refined, network, reference),
        "quantize_seconds": round(seconds, 1),
        "refinement": record.to_dict(),
    }


def expected_db(logits: FloatArray, noise: Mapping[str, float]) -> float:
    """The SQNR that the recipe goes by when it chooses: logits over the sum of what each tensor adds by itself."""
    power = float(np.square(logits, dtype=np.float64).sum(axis=1).mean())
    return round(10 * float(np.log10(power / max(sum(noise.values()), 1e-300))), _DECIMALS)


def _figures_of(quantized: QuantizedGraph, network: Network, reference: Reference) -> dict[str, Any]:
    content = emit_tflite(quantized, replace(network.document, precision="int8"))
    return {**asdict(figures(run_tflite(content, reference.pixels), reference)), "size_bytes": len(content)}


def measure_max_drop(network: Network, fold: Fold, reference: Reference, *, images: int, seed: int) -> dict[str, Any]:
    """Figures of the file that `export --max-drop 0.3` makes, and how many times the all-integer file's time it
    takes.
    """
    drawn = draw_calibration_set(fold.calibration, network.preprocessing, limit=images, seed=seed)
    photos = part_photos(drawn, seed=seed, skip=HELD_OUT_PHOTOS)
    try:
        check_held_out(photos, network.document.head)
    except UsageError as error:
        return {"not_measured": str(error)}
    started = time.perf_counter()
    made = calibrate(network.graph, replace(network.document, precision="int8"), ".tflite", photos=photos)
    mixed, said = keep_within(made, _MAX_DROP)
    seconds = time.perf_counter() - started
    integer, content = made.emit(made.quantized), mixed.emit(mixed.quantized)
    found = figures(run_tflite(content, reference.pixels), reference)
    ratio = round(time_ratio(content, integer, reference.pixels[0]), _DECIMALS)
    return {
        **asdict(found),
        "quantize_seconds": round(seconds, 1),
        "size_bytes": len(content),
        "time_ratio": ratio,
        "said": said,
    }


def time_ratio(content: bytes, other: bytes, photo: npt.NDArray[np.uint8]) -> float:
    """Median time of a file's inference over the other's, on one thread, by turns in this process."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sessions = []
        for number, data in enumerate((content, other)):
            path = Path(folder) / f"{number}.tflite"
            path.write_bytes(data)
            sessions.append(open_session(path, file_format="tflite", engine="litert", threads=1))
            stack.callback(sessions[-1].close)
        ratios = []
        for _ in range(_TURNS):
            first, second = (_milliseconds(session, photo) for session in sessions)
            ratios.append(first / second)
    return float(np.median(ratios))


def _milliseconds(session: Session, photo: npt.NDArray[np.uint8]) -> float:
    """Median of a few runs; the first of a turn doesn't count, the other file has had the caches."""
    times = []
    for _ in range(_RUNS_A_TURN + 1):
        started = time.perf_counter()
        session.run(photo[None])
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[1:]))


def run_tflite(content: bytes, photos: npt.NDArray[np.uint8] | Iterator[FloatArray]) -> FloatArray:
    """float32[N, C]: the file's logits in LiteRT on one thread, for each photo as its input wants it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        session = open_session(path, file_format="tflite", engine="litert", threads=1)
        logits = np.stack([session.run(photo[None]).reshape(-1) for photo in photos])
        session.close()
    return logits


def figures(logits: FloatArray, reference: Reference) -> Figures:
    """Compares float32[N, C] with the float network's logits and the true classes."""
    best, float_best = logits.argmax(axis=1), reference.logits.argmax(axis=1)
    return Figures(
        top1=top1_percent(logits, reference.truth),
        agreement=round(100 * float(np.mean(best == float_best)), _DECIMALS),
        sqnr_db=round(sqnr_db(reference.logits, logits), _DECIMALS),
    )


def top1_percent(logits: FloatArray, truth: Sequence[frozenset[int]]) -> float:
    """Percent of photos whose best class is a true one."""
    hits = [int(best) in classes for best, classes in zip(logits.argmax(axis=1), truth, strict=True)]
    return round(100 * float(np.mean(hits)), _DECIMALS)


def sqnr_db(expected: FloatArray, found: FloatArray) -> float:
    """10·log10(Σ expected² / Σ (found − expected)²), over all photos and classes; infinite where nothing differs."""
    wide = expected.astype(np.float64)
    noise = float(np.square(found - wide).sum())
    return 10 * float(np.log10(np.square(wide).sum() / noise)) if noise else float("inf")


def peer_arrays(
    network: Network, fold: Fold, reference: Reference, *, images: int, seed: int
) -> dict[str, Callable[[], FloatArray]]:
    """What a peer gets, each made when called: the photos we calibrate and measure on, as float32[N, 3, S, S]."""
    photos = draw_calibration_set(fold.calibration, network.preprocessing, limit=images, seed=seed)
    return {"calibration": lambda: _planes(network, photos), "evaluation": lambda: _planes(network, reference.pixels)}


def _planes(network: Network, photos: Any) -> FloatArray:
    return np.stack([network.preprocessing.normalise(photo).transpose(2, 0, 1) for photo in photos])
