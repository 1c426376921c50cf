"""The last stage: what the output's mean is still off by goes off the classifier's bias.

Layer by layer no correction sees what several layers' errors do together; the output's mean over a hundred photos does,
and other photos show the same. As much of it is taken as the photos' spread says is no accident.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Dense
from edge_effnet.parallel import map_in_order
from edge_effnet.quantization.measure.simulate import simulate
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.stages.bias_correction import corrected
from edge_effnet.quantization.state import Stage, State, Work, known
from edge_effnet.system import available_cores

Vector = npt.NDArray[np.float64]


def trusted_mean(errors: npt.NDArray[np.float64]) -> Vector:
    """float64[C]: the mean of float64[N, C] errors, less the share of its power that N of them make by accident."""
    mean = errors.mean(axis=0)
    power, accident = np.square(mean).sum(), errors.var(axis=0, ddof=1).sum() / len(errors)
    return np.asarray(mean * max(0.0, 1.0 - accident / power) if power > 0 else mean, np.float64)


def _run(state: State, work: Work) -> State:
    count = min(work.recipe.output_images, len(work.photos))
    if count < 2 or not isinstance(state.graph.by_name()[state.graph.output_name], Dense):
        return state
    activations, images, told = known(state.activations), work.images(state, count), work.told("output", count)
    quantized = QuantizedGraph(corrected(state, activations), activations, known(state.weights))

    def error(index: int) -> Vector:
        moved = simulate(quantized, images[index]).astype(np.float64) - execute(state.graph, images[index])
        return np.asarray(moved.reshape(-1), np.float64)

    errors = []
    for found in map_in_order(error, range(count), workers=available_cores()):
        errors.append(found)
        told()
    return replace(state, output_shift=trusted_mean(np.stack(errors)))


STAGE = Stage(
    "output shift",
    lambda recipe: recipe.output_shift,
    frozenset({"image", "activations", "weights"}),
    frozenset({"weights"}),
    _run,
)
