"""The stack machine that a pickle's opcodes are for, without calling anything they name.

Where Python's pickle would import and call, this one looks into a table of constructors that it was given, or writes
down what was to be called. Which opcode asks for what: `opcodes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, TypeAlias

from edge_effnet.exporters.inputs.parts import FilePart
from edge_effnet.exporters.inputs.pickle_stream import MAX_NAME, Budget, PickleStream
from edge_effnet.exporters.inputs.records import Global, Record, key_of
from edge_effnet.exporters.inputs.stored import FileBytes, MalformedError

_MAX_MARKS = 1_000
#: What a container is charged for each of its items, generously.
_ITEM_BYTES = 100

#: Makes a value of arguments, or returns NotImplemented: a record is made then.
Constructor: TypeAlias = Callable[..., Any]
#: Makes a value of a record and the state it is given after its making, or returns NotImplemented.
Finisher: TypeAlias = Callable[[Record, Any], Any]


class Machine:
    """One stream's stack, marks and memo; `stream` is left behind the last byte that was asked for."""

    def __init__(
        self,
        stream: BinaryIO,
        *,
        budget: Budget,
        constructors: Mapping[str, Constructor],
        finishers: Mapping[str, Finisher],
        persistent: Callable[[Any], Any],
        source: FileBytes | FilePart | None = None,
    ) -> None:
        self.stream = PickleStream(stream, budget, source)
        self._constructors, self._finishers, self._outside = constructors, finishers, persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        #: Records that a BUILD may yet turn into a value → where the memo holds them.
        self._unfinished: dict[int, list[int]] = {}

    @staticmethod
    def check_protocol(version: int) -> None:
        """Raises MalformedError for one that isn't known."""
        if version > 5:
            raise MalformedError(f"a pickle of protocol {version}; expected at most 5")

    def push(self, value: Any) -> None:
        """Onto the stack."""
        self._stack.append(value)

    def taken(self) -> Any:
        """The top of the stack, which it leaves."""
        return self._stack.pop()

    def duplicate(self) -> None:
        """The top of the stack once more."""
        self.push(self._stack[-1])

    # Marks -----------------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Lays the stack aside until `marked`."""
        if len(self._marks) >= _MAX_MARKS:
            raise MalformedError(f"a pickle nested more than {_MAX_MARKS:,} deep")
        self._marks.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self._stack = self._stack, self._marks.pop()
        return items

    def pop(self) -> None:
        """Takes the top away, or a mark."""
        if self._stack:
            self._stack.pop()
        else:
            self.marked()

    # Containers ------------------------------------------------------------------------------------------------------

    def tuple_of(self, count: int) -> None:
        """Of the last `count` values."""
        items = tuple(self._stack[len(self._stack) - count :])
        if len(items) != count:
            raise IndexError
        if count:
            del self._stack[-count:]
        self.push(items)

    def dict_of_marked(self) -> None:
        """Of keys and values by turns."""
        items = self.marked()
        self.push({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        """To the list, or the record of a kind of list, on the stack."""
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif not items:
            return
        else:
            raise TypeError

    def set_items(self, items: list[Any]) -> None:
        """Keys and values by turns, into the dict or record on the stack."""
        target = self._stack[-1]
        if len(items) % 2:
            raise IndexError
        pairs = [(key_of(key), value) for key, value in zip(items[::2], items[1::2], strict=True)]
        if isinstance(target, Record):
            target.pairs.extend(pairs)
        elif isinstance(target, dict):
            target.update(pairs)
        elif pairs:
            raise TypeError

    def set_item(self) -> None:
        """One key and value."""
        value, key = self._stack.pop(), self._stack.pop()
        self.set_items([key, value])

    def add_items(self) -> None:
        """To the set on the stack."""
        items = self.marked()
        self._stack[-1].update(map(key_of, items))

    def frozen_set(self) -> None:
        """Of what was marked."""
        self.push(frozenset(map(key_of, self.marked())))

    # Memo ------------------------------------------------------------------------------------------------------------

    def put(self, index: int) -> None:
        """Notes the top of the stack in the memo."""
        if index < 0:
            raise IndexError
        value = self._stack[-1]
        self._memo[index] = value
        if isinstance(value, Record) and value.kind in self._finishers:
            self._unfinished.setdefault(id(value), []).append(index)

    def put_next(self) -> None:
        """Notes it under the next number."""
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        """What was noted."""
        self.push(self._memo[index])

    # Objects ---------------------------------------------------------------------------------------------------------

    def global_line(self) -> None:
        """A class or function, by the names in two lines."""
        self.push(_named(self.stream.line(), self.stream.line()))

    def stack_global(self) -> None:
        """A class or function, by the names on the stack."""
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str or len(name) + len(module) > MAX_NAME:
            raise MalformedError("a class in a pickle whose name is no short text")
        self.push(_named(module, name))

    def reduce(self) -> None:
        """A call: of a class (`NEWOBJ`) or a function."""
        args, function = self._stack.pop(), self._stack.pop()
        self.push(self._made(function, args))

    def new_object_keywords(self) -> None:
        """A call with keywords, which the record keeps as pairs."""
        keywords, args, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        record = self._made(function, args)
        if isinstance(record, Record) and isinstance(keywords, dict):
            record.pairs.extend(keywords.items())
        self.push(record)

    def instance_line(self) -> None:
        """A call of what two lines name."""
        function = _named(self.stream.line(), self.stream.line())
        self.push(self._made(function, tuple(self.marked())))

    def object_of_marked(self) -> None:
        """A call of the first value since the mark."""
        function, *args = self.marked()
        self.push(self._made(function, tuple(args)))

    def _made(self, function: Any, args: Any) -> Any:
        """What a known constructor makes of the arguments, or a record of the call."""
        if not isinstance(args, tuple):
            raise MalformedError("a call in a pickle without arguments")
        name = function.name if isinstance(function, Global) else getattr(function, "kind", "?")
        constructor = self._constructors.get(name)
        made = NotImplemented if constructor is None else _attempt(constructor, *args)
        self._charge(made)
        return Record(name, args) if made is NotImplemented else made

    def _charge(self, made: Any) -> None:
        """A few opcodes may make a copy of something large, again and again."""
        if isinstance(made, bytes):
            self.stream.budget.spend(len(made))
        elif isinstance(made, (list, tuple, dict, set, frozenset)):
            self.stream.budget.spend(_ITEM_BYTES * len(made))

    def build(self) -> None:
        """Gives the object on the stack its state; a record that becomes a value by it is replaced in the memo, too."""
        state, target = self._stack.pop(), self._stack[-1]
        if not isinstance(target, Record):
            return  # attributes of a plain container: torch's `_metadata` of a state dict
        finisher = self._finishers.get(target.kind)
        value = NotImplemented if finisher is None else _attempt(finisher, target, state)
        if value is NotImplemented:
            target.state = state
            return
        if isinstance(state[-1], str):
            self.stream.budget.spend(len(state[-1]))  # encoded once more
        self._stack[-1] = value
        for index in self._unfinished.pop(id(target), ()):
            self._memo[index] = value

    def persistent_line(self) -> None:
        """What lies outside, by a name in a line."""
        self.push(self._outside(self.stream.line()))

    def persistent_value(self) -> None:
        """What lies outside, by a reference on the stack."""
        self.push(self._outside(self._stack.pop()))


def _attempt(function: Callable[..., Any], *args: Any) -> Any:
    """Arguments of another number or kind than expected aren't broken: a record is made of them."""
    try:
        return function(*args)
    except MalformedError:
        raise
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, OverflowError):
        return NotImplemented


def _named(module: str, name: str) -> Global:
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    return Global(f"{module}.{name}")
