"""Running a pickle's opcodes (protocols 0 to 5: Python's `pickletools`) on a machine that calls nothing they name.

Plain values become themselves, everything else a record. All that a stream can ask for is bounded: opcodes, bytes,
marks, numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from edge_effnet.exporters.inputs.machine import Machine
from edge_effnet.exporters.inputs.stored import MalformedError

_Action: TypeAlias = Callable[[Machine], None]


def run(machine: Machine) -> Any:
    """The value of the machine's stream. Raises MalformedError."""
    try:
        while (opcode := machine.stream.opcode()) != b".":
            action = _ACTIONS.get(opcode)
            if action is None:
                raise MalformedError(f"opcode {opcode!r} in a pickle, which isn't read")
            action(machine)
        return machine.taken()
    except MalformedError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, MemoryError, struct.error) as error:
        raise MalformedError(f"a pickle that doesn't make sense ({type(error).__name__})") from error


def _discarded(_: Any) -> None:
    """What has been read is enough: the length of a frame, what is taken off the stack."""


_ACTIONS: Mapping[bytes, _Action] = {
    b"\x80": lambda m: m.check_protocol(m.stream.number("<B")),
    b"\x95": lambda m: _discarded(m.stream.number("<Q")),
    b"(": Machine.mark,
    b"0": Machine.pop,
    b"1": lambda m: _discarded(m.marked()),
    b"2": Machine.duplicate,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(m.stream.int_line()),
    b"L": lambda m: m.push(m.stream.whole_line()),
    b"J": lambda m: m.push(m.stream.number("<i")),
    b"K": lambda m: m.push(m.stream.number("<B")),
    b"M": lambda m: m.push(m.stream.number("<H")),
    b"\x8a": lambda m: m.push(m.stream.long("<B")),
    b"\x8b": lambda m: m.push(m.stream.long("<i")),
    b"F": lambda m: m.push(float(m.stream.line())),
    b"G": lambda m: m.push(m.stream.number(">d")),
    b"S": lambda m: m.push(m.stream.string_line()),
    b"T": lambda m: m.push(m.stream.text("<i", "latin-1")),
    b"U": lambda m: m.push(m.stream.text("<B", "latin-1")),
    b"V": lambda m: m.push(m.stream.unicode_line()),
    b"X": lambda m: m.push(m.stream.text("<I")),
    b"\x8c": lambda m: m.push(m.stream.text("<B")),
    b"\x8d": lambda m: m.push(m.stream.text("<Q")),
    b"B": lambda m: m.push(m.stream.run("<I")),
    b"C": lambda m: m.push(m.stream.sized("<B")),
    b"\x8e": lambda m: m.push(m.stream.run("<Q")),
    b"\x96": lambda m: m.push(m.stream.run("<Q")),
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": lambda m: m.push(tuple(m.marked())),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.marked()),
    b"a": lambda m: m.append([m.taken()]),
    b"e": lambda m: m.append(m.marked()),
    b"}": lambda m: m.push({}),
    b"d": Machine.dict_of_marked,
    b"s": Machine.set_item,
    b"u": lambda m: m.set_items(m.marked()),
    b"\x8f": lambda m: m.push(set()),
    b"\x90": Machine.add_items,
    b"\x91": Machine.frozen_set,
    b"g": lambda m: m.get(m.stream.whole_line()),
    b"h": lambda m: m.get(m.stream.number("<B")),
    b"j": lambda m: m.get(m.stream.number("<I")),
    b"p": lambda m: m.put(m.stream.whole_line()),
    b"q": lambda m: m.put(m.stream.number("<B")),
    b"r": lambda m: m.put(m.stream.number("<I")),
    b"\x94": Machine.put_next,
    b"c": Machine.global_line,
    b"\x93": Machine.stack_global,
    b"R": Machine.reduce,
    b"\x81": Machine.reduce,
    b"\x92": Machine.new_object_keywords,
    b"i": Machine.instance_line,
    b"o": Machine.object_of_marked,
    b"b": Machine.build,
    b"P": Machine.persistent_line,
    b"Q": Machine.persistent_value,
}
