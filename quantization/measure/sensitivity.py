"""How much noise in each channel of each tensor disturbs the logits, by sending random signs back through the network.

For logits noise power the right weight of a value x is the sum over logits k of (∂logit_k/∂x)². With v a vector of
random signs, the gradient of v·logits squared has that sum as its mean (Hutchinson, 1990), so one backward run for
each photo estimates all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.execute import backward, execute
from edge_effnet.network.graph import Graph

Array = npt.NDArray[Any]
Sensitivity = Mapping[str, npt.NDArray[np.float64]]


def channel_sensitivity(graph: Graph, inputs: Iterable[Array], *, seed: int) -> Sensitivity:
    """Tensor name → float64[C]: logit noise power for noise of variance 1 in every position of that channel.

    Averaged over the images [1, H, W, 3]; the image itself isn't listed. Deterministic by `seed`.
    """
    generator = np.random.default_rng(seed)
    totals: dict[str, Any] = {}
    images = 0
    for image in inputs:
        tensors: dict[str, Array] = {}
        logits = execute(graph, image, hook=lambda name, tensor, kept=tensors: kept.setdefault(name, tensor))  # type: ignore[misc]
        signs = generator.choice(np.array([-1.0, 1.0], np.float32), size=logits.shape)
        for name, gradient in backward(graph, tensors, signs):
            flat = gradient.reshape(-1, gradient.shape[-1])
            totals[name] = totals.get(name, 0.0) + np.einsum("nc,nc->c", flat, flat, dtype=np.float64)
        images += 1
    return {name: total / images for name, total in totals.items()}
