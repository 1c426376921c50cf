"""Ranges that count the errors that add up: of each tensor's candidates the one with the least noise of both kinds.

Independent noise alone clips too much, and what photos not seen reach is clipped with it; the sum of errors over a
photo alone would let tensors' shifts cancel on the photos that were calibrated on. Together they hold on new photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import IDENTITY, RESPONSES, Response
from edge_effnet.network.graph import Graph
from edge_effnet.network.operators import is_copy
from edge_effnet.numerics import QuantParams, params_for_range
from edge_effnet.quantization.measure.passes import measure_shifts
from edge_effnet.quantization.measure.sensitivity import Sensitivity
from edge_effnet.quantization.measure.shifts import LogitShifts, sources
from edge_effnet.quantization.measure.simulate import fake_quantize, rounded_swish
from edge_effnet.quantization.measure.statistics import TensorStatistics
from edge_effnet.quantization.recipe import Recipe
from edge_effnet.quantization.records import is_fixed, with_fixed
from edge_effnet.quantization.stages.ranges import candidate_errors, find_responses, is_nothing, weighted_points
from edge_effnet.quantization.state import Stage, State, Work, known

Array = npt.NDArray[Any]
#: Candidates whose errors are worked out at once.
_TOGETHER = 24


@dataclass(frozen=True, eq=False)
class Tensors:
    """What the choice goes by: the float graph, and what was measured of it."""

    graph: Graph
    statistics: Mapping[str, TensorStatistics]
    sensitivity: Sensitivity
    shifts: Mapping[str, LogitShifts]


def coherent_params(
    found: Tensors, activations: Mapping[str, QuantParams]
) -> tuple[dict[str, QuantParams], dict[str, float]]:
    """The activations with the range of every tensor that has shifts chosen anew, fixed ones as they are; and the logit
    noise of both kinds that each of the new ones makes.
    """
    chosen, noise = dict(activations), dict[str, float]()
    behind, nodes = find_responses(found.graph), found.graph.by_name()
    for name, source in sources(found.graph, found.statistics).items():
        if name not in found.shifts or is_copy(nodes[name]):
            continue
        shifts, paired = found.shifts[name], source != name and source in chosen
        response = behind[source][0] if source != name else IDENTITY
        if paired:
            errors = _through(response, shifts)
            chosen[source], *both = _best(found, source, name, response, chosen[source], shifts, errors)
            noise[source] = sum(both)
        if name in chosen and not is_fixed(nodes[name]):
            given = _given(shifts.centers, response, chosen.get(source) if source != name else None)
            errors = _rounding(given, response.value(shifts.centers))
            if paired:  # what adds up of the two is counted once, here
                noise[source] = both[0]
            chosen[name], *both = _best(found, name, name, IDENTITY, chosen[name], shifts, errors)
            noise[name] = sum(both)
    return with_fixed(found.graph, chosen), noise


def _rounding(given: Array, exact: Array) -> Callable[[QuantParams], Array]:
    return lambda params: fake_quantize(given, params) - exact


def _through(response: Response, shifts: LogitShifts) -> Callable[[QuantParams], Array]:
    exact = response.value(shifts.centers)
    return lambda params: response.value(fake_quantize(shifts.centers, params).astype(np.float64)) - exact


def _given(values: Array, response: Response, before: QuantParams | None) -> Array:
    """What an activation makes of values, rounded before it to its parameters."""
    if before is None:
        return response.value(values)
    rounded = fake_quantize(values, before).astype(np.float64)
    return rounded_swish(rounded) if response is RESPONSES["swish"] else response.value(rounded)


def _best(
    found: Tensors,
    name: str,
    reader: str,
    response: Response,
    now: QuantParams,
    shifts: LogitShifts,
    errors: Callable[[QuantParams], Array],
) -> tuple[QuantParams, float, float]:
    """The parameters with the least of both noises, and those two; candidates are looked at in the order of the
    independent one.
    """
    statistics = found.statistics[name]
    if is_nothing(statistics):
        return now, 0.0, 0.0
    points = weighted_points(statistics, response, found.sensitivity[reader])
    best, least, alone = now, np.inf, 0.0
    for batch, independent in _in_order(*candidate_errors(points, response, statistics.low, statistics.high)):
        if independent[0] >= least:
            break
        params = [params_for_range(low, high) for low, high in batch]
        total = independent + shifts.power(np.stack([errors(one) for one in params], axis=1).astype(np.float32))
        if total.min() < least:
            place = int(total.argmin())
            best, least, alone = params[place], float(total[place]), float(independent[place])
    return best, alone, least - alone


def _in_order(lows: Array, highs: Array, error: Array) -> Iterator[tuple[list[tuple[float, float]], Array]]:
    """Batches of ranges with their errors, least first."""
    order = np.argsort(error, axis=None, kind="stable")
    for start in range(0, len(order), _TOGETHER):
        rows, columns = np.unravel_index(order[start : start + _TOGETHER], error.shape)
        yield (
            [(float(lows[row]), float(highs[column])) for row, column in zip(rows, columns, strict=True)],
            error[rows, columns],
        )


def _run(state: State, work: Work) -> State:
    found, count = known(state.measured), min(work.recipe.sensitivity_images, len(work.photos))
    images, told = work.images(state, count), work.told("coherent ranges", count)
    shifts = measure_shifts(
        state.graph,
        images,
        found.statistics,
        seed=work.seed,
        corrected=work.recipe.bias_correction == "weights-and-activations",
        told=told,
    )
    tensors = Tensors(state.graph, found.statistics, found.sensitivity, shifts)
    activations, noise = coherent_params(tensors, known(state.activations))
    return replace(state, activations=activations, noise=noise)


def _enabled(recipe: Recipe) -> bool:
    return recipe.coherent and recipe.weigh_channels and recipe.ranges == "mse"


STAGE = Stage(
    "coherent ranges", _enabled, frozenset({"image", "measured", "activations"}), frozenset({"activations"}), _run
)
