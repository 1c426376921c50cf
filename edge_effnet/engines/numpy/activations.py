"""Operators of one input that treat every element alike: LOGISTIC, RELU, RELU6, HARD_SWISH, GELU, LEAKY_RELU, TANH, and
swish as one step.

In 8 bits each is a table of 256 answers, made when the file is opened (tables.py); the last three are float32 alone,
as heads have them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Workspace, is_float, strip_rows
from edge_effnet.engines.numpy.rounding import clamp_float
from edge_effnet.engines.numpy.tables import clamp_table, hard_swish_table, logistic_table, swish_table, table_kernel
from edge_effnet.errors import EngineError
from edge_effnet.network.activations import RESPONSES

#: One strip of float32: input, output.
_Strip: TypeAlias = Callable[[Array, Array], None]
#: exp of more overflows float32.
_LARGEST_EXPONENT = np.float32(88.0)


def logistic(node: Node, _workspace: Workspace) -> Kernel:
    """σ(x) = 1 / (1 + exp(−x))."""
    return _float_kernel(node, sigmoid) if is_float(node) else table_kernel(node, logistic_table(node, node.output))


def swish(node: Node, workspace: Workspace) -> Kernel:
    """x · σ(x): LOGISTIC and MUL of one tensor in one pass. inputs: x, then σ(x) as the file declares it; it's never
    made.
    """
    if not is_float(node):
        return table_kernel(node, swish_table(node))

    def strip(values: Array, out: Array) -> None:
        gate = workspace.array("sums", values.shape, np.float32)
        sigmoid(values, gate)
        np.multiply(values, gate, out=out)

    return _float_kernel(node, strip)


def relu(node: Node, _workspace: Workspace) -> Kernel:
    """max(x, 0)."""
    return _clamp(node, (0.0, np.inf))


def relu6(node: Node, _workspace: Workspace) -> Kernel:
    """min(max(x, 0), 6)."""
    return _clamp(node, (0.0, 6.0))


def hard_swish(node: Node, _workspace: Workspace) -> Kernel:
    """x · min(max(x + 3, 0), 6) / 6."""
    return _float_kernel(node, _hard_swish) if is_float(node) else table_kernel(node, hard_swish_table(node))


def leaky_relu(node: Node, _workspace: Workspace) -> Kernel:
    """x above 0, alpha · x below."""
    alpha = np.float32(node.options["alpha"])

    def strip(values: Array, out: Array) -> None:
        np.multiply(values, np.where(values > 0, np.float32(1), alpha), out=out)

    return _float_alone(node, strip)


def tanh(node: Node, _workspace: Workspace) -> Kernel:
    """tanh(x)."""
    return _float_alone(node, lambda values, out: np.copyto(out, np.tanh(values)))


def gelu(node: Node, _workspace: Workspace) -> Kernel:
    """x · Φ(x) in its tanh form (Hendrycks & Gimpel, arXiv 1606.08415); the exact one has erf."""
    if not node.options["approximate"]:
        raise EngineError(f"{node.where}: GELU by erf, which the numpy engine lacks; use --engine litert")
    return _float_alone(node, lambda values, out: np.copyto(out, RESPONSES["gelu"].value(values)))


def _float_alone(node: Node, strip: _Strip) -> Kernel:
    if not is_float(node):
        raise EngineError(f"{node.where}: of 8 bits, which the numpy engine has in float32 alone; use --engine litert")
    return _float_kernel(node, strip)


def sigmoid(values: Array, out: Array) -> None:
    """1 / (1 + exp(−x)) without overflow, float32 in and out; `out` may be `values`."""
    np.clip(values, -_LARGEST_EXPONENT, _LARGEST_EXPONENT, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)
    np.add(out, np.float32(1), out=out)
    np.reciprocal(out, out=out)


def _hard_swish(values: Array, out: Array) -> None:
    np.add(values, np.float32(3), out=out)
    np.clip(out, np.float32(0), np.float32(6), out=out)
    np.multiply(out, values, out=out)
    np.multiply(out, np.float32(1 / 6), out=out)


def _clamp(node: Node, limits: tuple[float, float]) -> Kernel:
    if not is_float(node):
        return table_kernel(node, clamp_table(node, limits))

    def strip(values: Array, out: Array) -> None:
        np.copyto(out, values)
        clamp_float(out, limits)

    return _float_kernel(node, strip)


def _float_kernel(node: Node, strip: _Strip) -> Kernel:
    node.expect_shape(node.input(0).shape)
    count = strip_rows(np.dtype(np.float32).itemsize)

    def run(inputs: Sequence[Array], out: Array) -> None:
        source, target = inputs[0].reshape(-1), out.reshape(-1)
        for start in range(0, source.size, count):
            strip(source[start : start + count], target[start : start + count])

    return run
