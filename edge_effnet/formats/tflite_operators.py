"""Operators of a `.tflite` file: operands that exist, options as the schema has them.

Source of the slot numbers: schema.fbs of TensorFlow Lite / LiteRT, version 3 (a field's position in its table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import INT8, INT32, UINT32, UINT64, FlatBuffer, Table
from edge_effnet.formats.records import SHOWN
from edge_effnet.formats.tflite_schema import CUSTOM, OPERATORS, OPTIONS, Option

#: Of one operator, or of the model.
MAX_OPERANDS = 1 << 12
_MAX_OPERATORS = 1 << 17
_NO_TENSOR = -1


@dataclass(frozen=True)
class TfliteOperator:
    """One step. `code`: "CONV_2D", "BUILTIN_<n>" or a custom operator's own; `inputs`: tensor indices, -1 where left
    out.

    options: the schema's field names → values (padding "SAME" or "VALID", activations by name), defaults filled in;
    empty for operators without an entry in `tflite_schema.OPTIONS`.
    """

    code: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def outside(start: int, size: int, buffer: FlatBuffer, what: str) -> memoryview:
    """Bytes behind the flatbuffer; the schema counts offsets from the file's beginning and only above 1."""
    if start <= 1:
        return buffer.data[:0]
    buffer.claim(start, size, what)
    return buffer.data[start : start + size]


def indices(table: Table, slot: int, count: int, what: str, *, lowest: int = 0) -> tuple[int, ...]:
    """Tensor indices of a vector; raises ModelFileError outside lowest … count - 1."""
    found = table.integers(slot, limit=MAX_OPERANDS)
    if found and not (min(found) >= lowest and max(found) < count):
        raise ModelFileError(f"{what} refer to tensors {list(found)[:8]}; the model has {count} tensors")
    return found


def read_operators(
    codes: Sequence[tuple[str, int]], graph: Table, tensors: int, buffer: FlatBuffer
) -> tuple[TfliteOperator, ...]:
    """A subgraph's operators. codes: (name, version) of each operator code; tensors: how many there are.

    Raises ModelFileError.
    """
    operators = []
    for index, table in enumerate(graph.tables(3, limit=_MAX_OPERATORS)):
        where = f"{buffer.name}: operator {index}"
        chosen = table.scalar(0, UINT32)
        if chosen >= len(codes):
            raise ModelFileError(f"{where} has the operator code {chosen}; the file lists {len(codes)}")
        code, version = codes[chosen]
        where = f"{where} ({code:.{SHOWN}})"
        inputs = indices(table, 1, tensors, f"{where}: its inputs", lowest=_NO_TENSOR)
        outputs = indices(table, 2, tensors, f"{where}: its outputs")
        _check_rarely_used(table, tensors, where)
        if table.has(9):
            outside(table.scalar(9, UINT64), table.scalar(10, UINT64), buffer, f"options of operator {index}")
        operators.append(TfliteOperator(code, version, inputs, outputs, _options(table, code, where)))
    return tuple(operators)


def _check_rarely_used(table: Table, tensors: int, where: str) -> None:
    """Fields that no classifier needs but an engine reads: options of a custom operator, variables, intermediate
    tensors.
    """
    if table.has(5):
        table.raw(5)
    if table.has(7):
        table.raw(7)
    if table.has(8):
        indices(table, 8, tensors, f"{where}: its intermediates")
    if table.has(11):
        table.union(11)


def read_code(table: Table) -> tuple[str, int]:
    """(name, version); codes up to 127 stand in the older of two fields (schema.fbs, OperatorCode)."""
    number = max(table.scalar(0, INT8), table.scalar(3, INT32))
    name = (table.string(1) or "CUSTOM") if number == CUSTOM else OPERATORS.get(number, f"BUILTIN_{number}")
    return name, table.scalar(2, INT32, 1)


def _options(table: Table, code: str, where: str) -> dict[str, Any]:
    kind, options = table.union(3)
    expected = OPTIONS.get(code)
    if expected is None or not expected.options:
        return {}
    if options is not None and kind != expected.kind:
        raise ModelFileError(f"{where} has options of kind {kind}; expected {expected.kind}")
    return {option.name: _option(options, option, where) for option in expected.options}


def _option(table: Table | None, option: Option, where: str) -> Any:
    if option.kind is None:
        return () if table is None else table.integers(option.slot, limit=MAX_OPERANDS)
    value = option.default if table is None else table.scalar(option.slot, option.kind, option.default)
    if option.minimum is not None and value < option.minimum:
        raise ModelFileError(f"{where} has {option.name} = {value}; expected at least {option.minimum}")
    if option.choices is None:
        return value
    if not 0 <= value < len(option.choices):
        raise ModelFileError(
            f"{where} has {option.name} = {value}; expected 0 to {len(option.choices) - 1} "
            f"({', '.join(option.choices)})"
        )
    return option.choices[value]
