"""The report on one quantization: plain data, for JSON and for the page made of it (report_page.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Graph, Weighted, is_activation, weighted
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.layers import LayerSqnr
from edge_effnet.quantization.measure.statistics import BINS, TensorStatistics
from edge_effnet.quantization.pipeline import QuantizationTrace
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.quantization.report.held_out import HeldOut

#: Bars of a tensor's histogram in the report.
_BARS = 56
#: A channel that reaches this many times as far as the median one is called an outlier.
OUTLIER = 4.0
_DIGITS = 5
#: Equalisation gives most channels another reach; what differs less differs because other photos were looked at.
_UNCHANGED = 0.2


@dataclass(frozen=True)
class TensorReport:
    """One tensor of the quantized graph.

    before_swish: only a swish reads it, which flattens what is low, so low values may be cut.
    low, high: what int8 reaches; None where the tensor stays float32. clipped: share of values outside. reach: how
    far the widest channel goes over how far the median one does; outliers: channels beyond 4 of those, widest first.
    sensitivity: logit noise power for noise of variance 1; noise_share: of the logit noise expected of all tensors; 0
    in float32. bias_shift: quadratic mean of the corrections over the tensor's standard deviation; None without a bias.
    histogram: counts between observed_low and observed_high, in bars of equal width.
    """

    name: str
    kind: str
    before_swish: bool
    channels: int
    low: float | None
    high: float | None
    observed_low: float
    observed_high: float
    clipped: float
    reach: float
    outliers: tuple[int, ...]
    sensitivity: float
    noise_share: float
    local_sqnr_db: float | None
    total_sqnr_db: float | None
    bias_shift: float | None
    histogram: tuple[float, ...]
    channel_low: tuple[float, ...]
    channel_high: tuple[float, ...]


@dataclass(frozen=True)
class EqualisedTensor:
    """What equalisation did to one tensor: widest over median channel, before and after."""

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class SplitBlock:
    """A block in lanes. widths: channels of each. gain_share: the logit noise saved, as a share of what is expected of
    int8 throughout.
    """

    block: str
    widths: tuple[int, ...]
    gain_share: float


@dataclass(frozen=True)
class Subject:
    """What was quantized and how: all that isn't measured. remarks: what a reader should know beside it."""

    variant: str
    image_size: str
    num_classes: int
    calibration_images: int
    seed: int
    recipe: Mapping[str, Any]
    float_tensors: tuple[str, ...]
    created_by: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class QuantizationReport:
    """Everything the page shows. tensors: in the order of execution; held_out: None without photos to spare."""

    subject: Subject
    held_out: HeldOut | None
    tensors: tuple[TensorReport, ...]
    equalised: tuple[EqualisedTensor, ...]
    lanes: tuple[SplitBlock, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def make_report(
    subject: Subject,
    quantized: QuantizedGraph,
    trace: QuantizationTrace,
    sqnr: Mapping[str, LayerSqnr],
    held_out: HeldOut | None,
) -> QuantizationReport:
    """The report, from what the stages found (`trace`) and what was measured since."""
    noise = {name: power for name, power in trace.noise.items() if name in quantized.activations}
    expected = sum(noise.values()) or 1.0
    shifts = _bias_shifts(trace, quantized.graph)
    readers = trace.graph.consumers()
    tensors = tuple(
        TensorReport(
            name=node.name,
            kind=type(node).__name__,
            before_swish=len(readers[node.name]) == 1 and is_activation(readers[node.name][0], "swish"),
            sensitivity=_short(float(trace.sensitivity[node.name].sum())),
            noise_share=_short(noise.get(node.name, 0.0) / expected),
            local_sqnr_db=_short_db(sqnr[node.name].local_db),
            total_sqnr_db=_short_db(sqnr[node.name].total_db),
            bias_shift=_short(shifts[node.name]) if node.name in shifts else None,
            **_of_statistics(trace.statistics[node.name], quantized.activations.get(node.name)),
        )
        for node in trace.graph.nodes
    )
    throughout = sum(trace.noise.values()) or 1.0
    lanes = tuple(
        SplitBlock(change.what, tuple(change.details["widths"]), change.gain / throughout)
        for change in trace.changes("lanes")
    )
    return QuantizationReport(subject, held_out, tensors, _equalised(trace), lanes)


def _of_statistics(found: TensorStatistics, params: QuantParams | None) -> dict[str, Any]:
    """The fields that say what a tensor's values are, and how int8 covers them."""
    reach = channel_reach(found)
    typical = _typical(reach)
    order = np.argsort(-reach, kind="stable")
    return {
        "channels": len(reach),
        "low": None if params is None else _short(params.low),
        "high": None if params is None else _short(params.high),
        "observed_low": _short(found.low),
        "observed_high": _short(found.high),
        "clipped": 0.0
        if params is None
        else _short(_clipped_share(found, params.low - params.scale / 2, params.high + params.scale / 2)),
        "reach": _short(float(reach.max()) / typical),
        "outliers": tuple(int(channel) for channel in order if reach[channel] > OUTLIER * typical),
        "histogram": tuple(_short(value) for value in _histogram(found)),
        "channel_low": tuple(_short(value) for value in found.channel_low),
        "channel_high": tuple(_short(value) for value in found.channel_high),
    }


def channel_reach(found: TensorStatistics) -> npt.NDArray[np.float64]:
    """float64[C]: how far each channel goes from zero."""
    return np.maximum(np.abs(found.channel_low), np.abs(found.channel_high))


def _typical(reach: npt.NDArray[np.float64]) -> float:
    """The median channel's reach; dead channels don't count, and no reach at all counts as 1."""
    alive = reach[reach > 0]
    return float(np.median(alive)) if len(alive) else 1.0


def _clipped_share(found: TensorStatistics, low: float, high: float) -> float:
    counts, centers = found.histogram.counts, found.histogram.centers
    x = np.clip(centers, found.channel_low[:, None], found.channel_high[:, None])
    outside = counts[(x < low) | (x > high)].sum(dtype=np.float64)
    return float(outside / max(counts.sum(dtype=np.float64), 1.0))


def _histogram(found: TensorStatistics) -> npt.NDArray[np.float64]:
    """float64[_BARS] over the observed range; a channel's bins are spread evenly over the bars they overlap."""
    width = (found.high - found.low) or 1.0
    edges = found.low + width * np.linspace(0, 1, _BARS + 1)
    total = np.zeros(_BARS)
    for counts, reach in zip(found.histogram.counts, found.histogram.reach, strict=True):
        cumulated = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
        total += np.diff(np.interp(edges, np.linspace(-reach, reach, BINS + 1), cumulated))
    return total


def _bias_shifts(trace: QuantizationTrace, corrected: Graph) -> dict[str, float]:
    after = {node.name: node for node in weighted(corrected.nodes)}
    return {
        node.name: _bias_shift(node, after[node.name], trace.statistics[node.name])
        for node in weighted(trace.graph.nodes)
        if node.name in after
    }


def _bias_shift(before: Weighted, after: Weighted, found: TensorStatistics) -> float:
    share = found.histogram.counts / np.maximum(found.histogram.counts.sum(axis=1, keepdims=True), 1)
    variance = (share * np.square(found.histogram.centers - found.channel_mean[:, None])).sum(axis=1)
    spread = float(np.sqrt(variance.mean()))
    shift = float(np.sqrt(np.square(after.bias - before.bias, dtype=np.float64).mean()))
    return shift / spread if spread > 0 else 0.0


def _equalised(trace: QuantizationTrace) -> tuple[EqualisedTensor, ...]:
    """Tensors whose channels equalisation rescaled, those it changed most first."""
    found = []
    for name, before in trace.unequalised.items():
        after = trace.statistics.get(name)
        if after is None or len(after.channel_low) != len(before.channel_low):
            continue
        reaches = channel_reach(before), channel_reach(after)
        if np.median(np.abs(reaches[1] / np.maximum(reaches[0], 1e-12) - 1)) > _UNCHANGED:
            found.append(EqualisedTensor(name, *(_short(float(reach.max()) / _typical(reach)) for reach in reaches)))
    return tuple(sorted(found, key=lambda item: (item.after / item.before, item.name)))


def _short(value: float) -> float:
    """To five digits: a report of 300 tensors stays small."""
    return float(f"{value:.{_DIGITS}g}")


def _short_db(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
