"""Running a network as the file it would be, in the engine that will run it; the photos are prepared squares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.engines import open_session
from edge_effnet.errors import EngineError, MissingDependencyError, SlowEngineWarning
from edge_effnet.files import temporary_folder, write_atomically
from edge_effnet.network.execute import execute
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.tensor import InputTensor

Squares: TypeAlias = Iterable[npt.NDArray[np.uint8]]
#: What ran where no engine for the format is installed.
SIMULATION = "a simulation in numpy"


@dataclass(frozen=True, eq=False)
class Answers:
    """logits: float32[N, C], a row a photo. engine: what ran, with its version."""

    logits: npt.NDArray[np.float32]
    engine: str


def run_candidate(
    data: bytes,
    squares: Squares,
    *,
    ending: str,
    preprocessing: Preprocessing,
    told: Callable[[], None] | None = None,
) -> Answers:
    """The logits of a finished file for prepared photos, uint8[S, S, 3] each. told: called after each.

    Raises EngineError where they aren't finite or the engine refuses the file, MissingDependencyError without one.
    """
    found = []
    with temporary_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", SlowEngineWarning)
        path = folder / f"candidate{ending}"
        write_atomically(path, data)
        with closing(open_session(path, file_format=ending[1:], threads=1)) as session:
            tensor = InputTensor(preprocessing, session, known=True)
            for square in squares:
                found.append(session.run(tensor.fill(square)).reshape(-1).copy())
                if told is not None:
                    told()
            engine = session.version
    logits = np.array(found, np.float32)
    if not np.isfinite(logits).all():
        raise EngineError(
            f"the file made here gave NaN or infinite numbers for {np.sum(~np.isfinite(logits).all(axis=1))} of "
            f"{len(logits)} photos, so it isn't kept; the checkpoint's weights have diverged, or report this"
        )
    return Answers(logits, engine)


def run_or_simulate(
    data: bytes,
    quantized: QuantizedGraph,
    squares: Squares,
    *,
    ending: str,
    preprocessing: Preprocessing,
    told: Callable[[], None] | None = None,
) -> Answers:
    """As `run_candidate`; where no engine is installed, what `quantized` computes in numpy."""
    try:
        return run_candidate(data, squares, ending=ending, preprocessing=preprocessing, told=told)
    except MissingDependencyError:
        rows = (_simulated(quantized, square, preprocessing) for square in squares)
        return Answers(np.concatenate(list(rows)), SIMULATION)


def _simulated(
    quantized: QuantizedGraph, square: npt.NDArray[np.uint8], preprocessing: Preprocessing
) -> npt.NDArray[np.float32]:
    image = quantized.activations.get(quantized.graph.input_name)
    if image is None:
        return execute(quantized.graph, preprocessing.normalise(square)[None])
    return simulate(quantized, network_input(square, image))
