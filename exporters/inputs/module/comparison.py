"""Whether the graph that was read off a module gives what the module gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.network.execute import execute
from edge_effnet.network.records import Network

#: Photos that the module and the graph are compared on, and how far they may be apart: float32 in another order.
_COMPARED = 2
_TOLERANCE = 1e-3


def compare(module: Any, network: Network, assembler: Assembler, shape: tuple[int, ...]) -> None:
    """Raises CheckpointError where the graph gives anything else than the module, on random images."""
    import torch

    images = np.random.default_rng(0).standard_normal((_COMPARED, *shape)).astype(np.float32)
    with torch.no_grad():
        found = [_tensor(module(torch.from_numpy(image[None]))) for image in images]
    expected = np.concatenate(found)
    scale, shift = assembler.normalisation or (np.ones(1), np.zeros(1))
    made = execute(network.graph, (images.transpose(0, 2, 3, 1) * scale + shift).astype(np.float32))
    if network.head.kind in ("softmax", "sigmoid") and not np.allclose(made, expected, atol=_TOLERANCE * 10):
        made = _as_probabilities(made, expected, network.head.kind)
    worst = float(np.abs(made - expected).max()) if made.shape == expected.shape else float("inf")
    if not worst <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise CheckpointError(
            f"the graph read off {type(module).__name__} differs from the module by {worst:.3g} on random images; "
            "please report it with the module"
        )


def _tensor(found: Any) -> Any:
    """The first tensor of what a module gives."""
    while not hasattr(found, "detach"):
        if found is None:
            raise CheckpointError("the module gives no tensor; expected classes or features")
        found = next(iter(found.values() if isinstance(found, Mapping) else found), None)
    return found.detach().float().numpy().reshape(len(found), -1)


def _as_probabilities(made: Any, expected: Any, kind: str) -> Any:
    """The head's end, where the module has it."""
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-made))
    shifted = np.exp(made - made.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    return np.log(scores) if (expected < 0).any() else scores
