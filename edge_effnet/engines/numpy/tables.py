"""Operators from 8 bits to 8 bits as tables of 256 answers, in the order of the input's bit patterns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.numpy.operands import INTEGERS, Affine, Array, Kernel, Node, Operand
from edge_effnet.engines.numpy.rounding import fixed_point, high_product, integer_range, multiply_fixed_point

_WORD_BITS = 15
_WORD = (-(1 << _WORD_BITS), (1 << _WORD_BITS) - 1)
_EVERYTHING = (-np.inf, np.inf)
#: HARD_SWISH's kernel works on inputs shifted up by this many bits.
_HIGH_BITS = 7
#: Fraction bits of the factor with which XNNPACK converts between scales.
_CONVERT_BITS = 8


def table_kernel(node: Node, table: bytes) -> Kernel:
    """Looks every byte of the input up; `bytes.translate` does so without the 8-byte indices numpy would make."""
    node.expect_shape(node.input(0).shape)

    def run(inputs: Sequence[Array], out: Array) -> None:
        found = bytearray(np.ascontiguousarray(inputs[0])).translate(table)
        np.copyto(out, np.frombuffer(found, out.dtype).reshape(out.shape))

    return run


def logistic_table(node: Node, output: Operand) -> bytes:
    """round(σ(x) / s_out) + z_out, half to even. TFLite's specification fixes s_out at 1/256."""
    source, target = node.affine(node.input(0)), node.affine(output)
    real = _centred(node, source) * np.float64(source.scale)
    sigma = np.reciprocal(1 + np.exp(-np.clip(real, -700, 700)))
    return _packed(np.rint(sigma / np.float64(target.scale)), target, output, _EVERYTHING)


def swish_table(node: Node) -> bytes:
    """The tables of LOGISTIC and MUL composed, the gate rounded in between: what LiteRT gives for the pair."""
    source, gate, target = node.affine(node.input(0)), node.affine(node.input(1)), node.affine(node.output)
    gates = np.frombuffer(logistic_table(node, node.input(1)), node.input(1).dtype).astype(np.int64) - gate.zero_point
    product = (_centred(node, source) * gates).astype(np.float32)
    return _packed(np.rint(product * (source.scale * gate.scale / target.scale)), target, node.output, _EVERYTHING)


def clamp_table(node: Node, limits: tuple[float, float]) -> bytes:
    """RELU and RELU6: the input times s_in/s_out in TFLite's fixed point, then the clamp."""
    source, target = node.affine(node.input(0)), node.affine(node.output)
    scaled = multiply_fixed_point(_centred(node, source), float(np.float64(source.scale) / np.float64(target.scale)))
    return _packed(scaled, target, node.output, limits)


def requantize_table(node: Node) -> bytes:
    """QUANTIZE between 8-bit types. One type: ((x − z_in) · round(256 · s_in/s_out) + 128) >> 8, XNNPACK's rule.

    From uint8 to int8 or back: TFLite's fixed point; for equal scales only the zero point moves.
    """
    source, target = node.affine(node.input(0)), node.affine(node.output)
    ratio = np.float64(source.scale / target.scale)
    if node.input(0).dtype == node.output.dtype:
        factor = int(np.rint(ratio * (1 << _CONVERT_BITS)))
        scaled = (_centred(node, source) * factor + (1 << _CONVERT_BITS >> 1)) >> _CONVERT_BITS
    else:
        scaled = multiply_fixed_point(
            _centred(node, source), float(np.float64(source.scale) / np.float64(target.scale))
        )
    return _packed(scaled, target, node.output, _EVERYTHING)


def hard_swish_table(node: Node) -> bytes:
    """HARD_SWISH in the 16-bit fixed point of TFLite's kernel (reference_ops::HardSwish): gate · input, each in a word.

    input: 128 · (x − z_in) on the output's scale, not yet shifted; gate: the same on a scale on which ±3 fills the
    word, saturating, moved from [−1, 1] to [0, 1].
    """
    source, target = node.affine(node.input(0)), node.affine(node.output)
    high_scale = np.float32(1 / (1 << _HIGH_BITS)) * source.scale
    high = _centred(node, source) << _HIGH_BITS
    output_factor, output_exponent = _word_factor(high_scale / target.scale)
    gate_factor, gate_exponent = _word_factor(high_scale / np.float32(3 / (1 << _WORD_BITS)))
    on_output_scale = high_product(high, output_factor, bits=_WORD_BITS)
    gate = high if gate_exponent <= 0 else _saturated(high << (gate_exponent - 1))
    gate = high_product(gate, gate_factor, bits=_WORD_BITS)
    gate = _saturated(gate << 1) if gate_exponent > 0 else _shifted(gate, -gate_exponent)
    gate = (gate + (1 << _WORD_BITS)) >> 1
    product = gate * on_output_scale
    product = np.where(product >= 0, product >> _WORD_BITS, -(-product >> _WORD_BITS))
    return _packed(_shifted(product, -output_exponent), target, node.output, _EVERYTHING)


def _word_factor(factor: np.float32) -> tuple[int, int]:
    """(16-bit mantissa, exponent) of a factor, from its 32-bit mantissa rounded half up."""
    mantissa, exponent = fixed_point(float(factor))
    return min((mantissa + (1 << _WORD_BITS)) >> (_WORD_BITS + 1), _WORD[1]), exponent


def _saturated(words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.clip(words, *_WORD)


def _shifted(words: npt.NDArray[np.int64], shift: int) -> npt.NDArray[np.int64]:
    """words / 2^shift, half away from 0 (gemmlowp's RoundingDivideByPOT)."""
    if shift <= 0:
        return words
    half = 1 << (shift - 1)
    return np.where(words >= 0, (words + half) >> shift, -((half - words) >> shift))


def _centred(node: Node, source: Affine) -> npt.NDArray[np.int64]:
    """int64[256]: x − z_in for every input x, in the order of its bit pattern."""
    dtype = node.input(0).dtype
    if dtype not in INTEGERS or node.output.dtype not in INTEGERS:
        raise node.unsupported()
    return np.arange(256, dtype=np.uint8).view(dtype).astype(np.int64) - source.zero_point


def _packed(values: Array, target: Affine, output: Operand, limits: tuple[float, float]) -> bytes:
    """values + z_out within the type and the real limits, as the table's bytes."""
    low, high = integer_range(limits, target, output.dtype)
    return np.clip(values + target.zero_point, low, high).astype(output.dtype).tobytes()
