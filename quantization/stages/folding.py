"""The first stage: pixels in, so that no client of an int8 file can get mean and standard deviation wrong."""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.quantization.pixels import fold_normalisation
from edge_effnet.quantization.state import Stage, State, Work


def _run(state: State, work: Work) -> State:
    graph, image = fold_normalisation(state.graph, work.photos.preprocessing)
    return replace(state, graph=graph, image=image)


STAGE = Stage("folding", lambda _recipe: True, frozenset(), frozenset({"image"}), _run)
