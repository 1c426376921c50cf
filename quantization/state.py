"""The one contract of all stages: a stage is a function from a frozen state to the next.

A stage says what it requires and what it ensures; what can be measured is measured when the first stage requires it.
It may rewrite the graph, and then brings `preview` along or leaves it out; what was measured on the old graph is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Graph
from edge_effnet.numerics import QuantParams
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.measure.passes import Measurement
from edge_effnet.quantization.pixels import network_input
from edge_effnet.quantization.recipe import Recipe
from edge_effnet.quantization.records import Progress, QuantizedWeight

Vector: TypeAlias = npt.NDArray[np.float64]
#: What a stage may require: pixels folded in; a quick measurement, kept up to date by rewrites; the whole measurement
#: of the graph as it is; int8 parameters; int8 weights.
Fact: TypeAlias = Literal["image", "preview", "measured", "activations", "weights"]


@dataclass(frozen=True)
class Change:
    """What a stage did to one tensor or block. gain: logit noise power saved by its estimate."""

    stage: str
    what: str
    gain: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class State:
    """Where the stages have got to; a fact that isn't known is None.

    graph: the float graph, rewritten but never rounded. image: the input's parameters. before: the preview as it was
    before the first rewrite, for reports. noise: tensor → logit noise power of its rounding, where a stage knows more
    than statistics tell. floats: tensors that get no int8 parameters. mean_errors: tensor → float64[C], by how much
    rounding between two convolutions moves each channel's mean. corrects: whether biases are corrected. output_shift:
    float64[C], the output's mean error that is left then; None where it isn't known.
    """

    graph: Graph
    image: QuantParams | None = None
    preview: Measurement | None = None
    before: Measurement | None = None
    measured: Measurement | None = None
    activations: Mapping[str, QuantParams] | None = None
    weights: Mapping[str, QuantizedWeight] | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    floats: frozenset[str] = frozenset()
    mean_errors: Mapping[str, Vector] = field(default_factory=dict)
    corrects: bool = False
    output_shift: Vector | None = None
    log: tuple[Change, ...] = ()

    @property
    def facts(self) -> frozenset[Fact]:
        """What is known of the graph as it is."""
        known: tuple[Fact, ...] = ("image", "preview", "measured", "activations", "weights")
        return frozenset(fact for fact in known if getattr(self, fact) is not None)

    def rewritten(self, graph: Graph, preview: Measurement | None, *log: Change) -> State:
        """After a rewrite: what was measured or chosen for the old graph is gone."""
        old = self.preview if self.before is None else self.before
        changed = replace(self, graph=graph, preview=preview, before=old, log=(*self.log, *log))
        return replace(changed, measured=None, activations=None, weights=None, noise={})


@dataclass(frozen=True, eq=False)
class Work:
    """What all stages share: the photos, the recipe, the seed, and whom to tell."""

    photos: CalibrationSet
    recipe: Recipe
    seed: int = 0
    progress: Progress | None = None

    def images(self, state: State, limit: int) -> NetworkInputs:
        """The first photos as the state's graph takes them."""
        if state.image is None:
            raise RuntimeError("the photos were asked for before the image's parameters were known")
        return NetworkInputs(self.photos, state.image, min(limit, len(self.photos)))

    def told(self, stage: str, total: int) -> Callable[[], None]:
        """Counts up to `total` for the progress of a stage, one photo a call."""
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            if self.progress is not None:
                self.progress(stage, done, total)

        return tell


@dataclass(frozen=True, eq=False)
class NetworkInputs(Sequence[npt.NDArray[np.float32]]):
    """float32[1, H, W, C] of each photo, made when it is asked for."""

    photos: CalibrationSet
    image: QuantParams
    limit: int

    def __len__(self) -> int:
        return self.limit

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.limit:
            raise IndexError(index)
        return network_input(self.photos.squares[index], self.image)


Value = TypeVar("Value")


def known(fact: Value | None) -> Value:
    """The fact; raises RuntimeError where a stage asks for one that it didn't require."""
    if fact is None:
        raise RuntimeError("a stage uses a fact that it doesn't require")
    return fact


@dataclass(frozen=True)
class Stage:
    """enabled: whether a recipe has it. run: from a state that has what it requires to one with what it ensures."""

    name: str
    enabled: Callable[[Recipe], bool]
    requires: frozenset[Fact]
    ensures: frozenset[Fact]
    run: Callable[[State, Work], State]
