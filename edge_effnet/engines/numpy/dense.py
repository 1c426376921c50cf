"""FULLY_CONNECTED, float32 or 8-bit (the arithmetic stands in linear.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_effnet.engines.numpy.linear import linear, matrix_product
from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Workspace
from edge_effnet.errors import EngineError


def fully_connected(node: Node, workspace: Workspace) -> Kernel:
    """out[n, o] = finish(Σ in[n, c] · weight[o, c]); weight [out, in], any input whose sides multiply to a multiple of
    `in`.
    """
    rule = linear(node, channel_axis=0)
    if rule.weight.ndim != 2 or node.options["weights_format"] != "DEFAULT":
        raise EngineError(
            f"{node.where} has {node.options['weights_format']} weights {list(rule.weight.shape)}; expected DEFAULT "
            "[out, in]"
        )
    channels, depth = rule.weight.shape
    elements = math.prod(node.input(0).shape)
    if depth == 0 or elements % depth or math.prod(node.output.shape) != elements // depth * channels:
        raise EngineError(
            f"{node.where} takes {list(node.input(0).shape)} to {list(node.output.shape)} with weights "
            f"{[channels, depth]}; they don't fit"
        )
    matrix = rule.weight.T

    def run(inputs: Sequence[Array], out: Array) -> None:
        rows = np.ascontiguousarray(inputs[0].reshape(-1, depth), matrix.dtype)
        matrix_product(rows, matrix, rule, out.reshape(-1, channels), workspace)

    return run
