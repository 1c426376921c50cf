"""Reading a pickle's opcodes without calling anything: plain values become themselves, everything else a record.

Python's pickle is a small stack machine whose opcodes import and call what they name. This one knows the same opcodes
(protocols 0 to 5: Python's `pickletools`), and where they would call, it looks into a table of constructors that it was
given or writes down what was to be called. Everything a stream can ask for is bounded: opcodes, bytes, marks, numbers.
"""

from __future__ import annotations

import codecs
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

from edge_effnet.exporters.inputs.stored import MalformedError

#: Far beyond real files: a B7's weights, optimizer and average take some 200,000 opcodes.
MAX_OPCODES = 1_000_000
#: Of the stream with the strings and arrays in it; torch's tensors lie outside.
MAX_BYTES = 512 << 20
_MAX_MARKS, _MAX_NUMBER_BYTES, _MAX_NAME, _MAX_LINE = 1_000, 64, 1_000, 1 << 20
#: One text; it may take four times that while it is decoded.
_MAX_TEXT = 128 << 20
#: What a container is charged for each of its items, generously.
_ITEM_BYTES = 100
#: Larger integers as keys could be chosen so that all hash alike; longer tuples take long to hash.
_MAX_KEY, _MAX_KEY_LENGTH = 1 << 60, 16


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names; nothing is imported."""

    name: str


@dataclass(slots=True, eq=False, repr=False)
class Record:
    """An object that wasn't made: of what class (or by what function), from which arguments and state.

    items, pairs: what it was filled with where it is a kind of list or dict. Any value may hold itself.
    """

    kind: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Record({self.kind!r:.80})"  # never its content, which may hold itself


@dataclass(slots=True, eq=False, repr=False)
class Key:
    """What stands as a dict's key or in a set and isn't hashed, since that could take for ever."""

    value: Any

    def __repr__(self) -> str:
        return f"Key({type(self.value).__name__})"


#: Makes a value of arguments, or returns NotImplemented: a record is made then.
Constructor: TypeAlias = Callable[..., Any]
#: Makes a value of a record and the state it is given after its making, or returns NotImplemented.
Finisher: TypeAlias = Callable[[Record, Any], Any]


@dataclass
class Budget:
    """What is left to a file, of all its streams together."""

    opcodes: int = MAX_OPCODES
    bytes: int = MAX_BYTES

    def spend(self, count: int) -> None:
        """Raises MalformedError when a stream, or what it makes, becomes too large."""
        self.bytes -= count
        if self.bytes < 0:
            raise MalformedError(f"a pickle of more than {MAX_BYTES:,} bytes")


def key_of(value: Any) -> Any:
    """The value if it's quickly hashed, otherwise a Key around it."""
    if isinstance(value, tuple):
        flat = len(value) <= _MAX_KEY_LENGTH and all(type(item) is not tuple and key_of(item) is item for item in value)
        return value if flat else Key(value)
    if type(value) is int and abs(value) >= _MAX_KEY:
        return Key(value)
    return (
        value if value is None or isinstance(value, (str, bytes, bool, int, float, Global, Record, Key)) else Key(value)
    )


class Machine:
    """One stream. `load` gives its value and leaves `stream` behind its last byte."""

    def __init__(
        self,
        stream: BinaryIO,
        *,
        budget: Budget,
        constructors: Mapping[str, Constructor],
        finishers: Mapping[str, Finisher],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._stream, self._budget = stream, budget
        self._constructors, self._finishers, self._persistent = constructors, finishers, persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        #: Records that a BUILD may yet turn into a value → where the memo holds them.
        self._unfinished: dict[int, list[int]] = {}

    def load(self) -> Any:
        """The value. Raises MalformedError."""
        try:
            while (opcode := self._stream.read(1)) != b".":
                self._budget.opcodes -= 1
                if self._budget.opcodes < 0:
                    raise MalformedError(f"a pickle of more than {MAX_OPCODES:,} steps")
                action = _ACTIONS.get(opcode)
                if action is None and not opcode:
                    raise MalformedError("a pickle ends early; the file is cut off or damaged")
                if action is None:
                    raise MalformedError(f"opcode {opcode!r} in a pickle, which isn't read")
                action(self)
            return self._stack.pop()
        except MalformedError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError, MemoryError, struct.error) as error:
            raise MalformedError(f"a pickle that doesn't make sense ({type(error).__name__})") from error

    def _read(self, count: int) -> bytes:
        self._budget.spend(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise MalformedError("a pickle ends early; the file is cut off or damaged")
        return data

    def _line(self, limit: int = _MAX_NAME, encoding: str = "utf-8") -> str:
        data = self._stream.readline(limit + 1)
        self._budget.spend(len(data))
        if not data.endswith(b"\n"):
            raise MalformedError("a line of a pickle has no end")
        return data[:-1].decode(encoding)

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _sized(self, form: str) -> bytes:
        count = self._number(form)
        if count < 0:
            raise MalformedError("a negative length in a pickle")
        return self._read(count)

    def _protocol(self) -> None:
        version = self._number("<B")
        if version > 5:
            raise MalformedError(f"a pickle of protocol {version}; expected at most 5")

    def _discard(self, _: Any) -> None:
        """What has been read is enough: the length of a frame, what is taken off the stack."""

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    # Marks -----------------------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        if len(self._marks) >= _MAX_MARKS:
            raise MalformedError(f"a pickle nested more than {_MAX_MARKS:,} deep")
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    # Numbers and text ------------------------------------------------------------------------------------------------

    def _int_line(self) -> None:
        text = self._line()
        self._push(bool(int(text)) if text in ("00", "01") else _whole(text))

    def _long_line(self) -> None:
        self._push(_whole(self._line().removesuffix("L")))

    def _long(self, form: str) -> None:
        data = self._sized(form)
        if len(data) > _MAX_NUMBER_BYTES:
            raise MalformedError(f"a number of {len(data):,} bytes in a pickle")
        self._push(int.from_bytes(data, "little", signed=True))

    def _float_line(self) -> None:
        self._push(float(self._line()))

    def _string_line(self) -> None:
        text = self._line(_MAX_LINE, "latin-1").strip()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
            raise MalformedError("text in a pickle without its quotes")
        self._push(_unescaped(text[1:-1]))

    def _unicode_line(self) -> None:
        self._push(self._line(_MAX_LINE, "raw-unicode-escape"))

    def _text(self, form: str) -> None:
        self._push(self._decoded(form, "utf-8"))

    def _old_text(self, form: str) -> None:
        """Python 2's str: text or bytes; Latin-1 keeps either."""
        self._push(self._decoded(form, "latin-1"))

    def _decoded(self, form: str, encoding: str) -> str:
        data = self._sized(form)
        if len(data) > _MAX_TEXT:
            raise MalformedError(f"a text of {len(data):,} bytes in a pickle")
        text = data.decode(encoding, "surrogatepass")
        self._budget.spend(max(0, sys.getsizeof(text) - len(data) - 100))
        return text

    # Containers ------------------------------------------------------------------------------------------------------

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[len(self._stack) - count :])
        if len(items) != count:
            raise IndexError
        if count:
            del self._stack[-count:]
        self._push(items)

    def _dict(self) -> None:
        items = self._marked()
        self._push({})
        self._set_items(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        elif not items:
            return
        else:
            raise TypeError

    def _set_items(self, items: list[Any]) -> None:
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

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _add_items(self) -> None:
        items = self._marked()
        self._stack[-1].update(map(key_of, items))

    def _frozen_set(self) -> None:
        self._push(frozenset(map(key_of, self._marked())))

    # Memo ------------------------------------------------------------------------------------------------------------

    def _put(self, index: int) -> None:
        if index < 0:
            raise IndexError
        value = self._stack[-1]
        self._memo[index] = value
        if isinstance(value, Record) and value.kind in self._finishers:
            self._unfinished.setdefault(id(value), []).append(index)

    def _get(self, index: int) -> None:
        self._push(self._memo[index])

    # Objects ---------------------------------------------------------------------------------------------------------

    def _global(self) -> None:
        self._push(_named(self._line(), self._line()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str or len(name) + len(module) > _MAX_NAME:
            raise MalformedError("a class in a pickle whose name is no short text")
        self._push(_named(module, name))

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._push(self._made(function, args))

    def _new_object_keywords(self) -> None:
        keywords, args, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        record = self._made(function, args)
        if isinstance(record, Record) and isinstance(keywords, dict):
            record.pairs.extend(keywords.items())
        self._push(record)

    def _instance(self) -> None:
        function = _named(self._line(), self._line())
        self._push(self._made(function, tuple(self._marked())))

    def _object(self) -> None:
        function, *args = self._marked()
        self._push(self._made(function, tuple(args)))

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
            self._budget.spend(len(made))
        elif isinstance(made, (list, tuple, dict, set, frozenset)):
            self._budget.spend(_ITEM_BYTES * len(made))

    def _build(self) -> None:
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
            self._budget.spend(len(state[-1]))  # encoded once more
        self._stack[-1] = value
        for index in self._unfinished.pop(id(target), ()):
            self._memo[index] = value

    def _persistent_line(self) -> None:
        self._push(self._persistent(self._line()))

    def _persistent_value(self) -> None:
        self._push(self._persistent(self._stack.pop()))


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


def _whole(text: str) -> int:
    if len(text) > 2 * _MAX_NUMBER_BYTES:
        raise MalformedError(f"a number of {len(text):,} digits in a pickle")
    return int(text)


def _unescaped(text: str) -> str:
    return codecs.escape_decode(text.encode("latin-1"))[0].decode("latin-1")


_Action: TypeAlias = Callable[[Machine], None]
_ACTIONS: Mapping[bytes, _Action] = {
    b"\x80": Machine._protocol,
    b"\x95": lambda m: m._discard(m._number("<Q")),
    b"(": Machine._mark,
    b"0": Machine._pop,
    b"1": lambda m: m._discard(m._marked()),
    b"2": lambda m: m._push(m._stack[-1]),
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": Machine._int_line,
    b"L": Machine._long_line,
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"\x8a": lambda m: m._long("<B"),
    b"\x8b": lambda m: m._long("<i"),
    b"F": Machine._float_line,
    b"G": lambda m: m._push(m._number(">d")),
    b"S": Machine._string_line,
    b"T": lambda m: m._old_text("<i"),
    b"U": lambda m: m._old_text("<B"),
    b"V": Machine._unicode_line,
    b"X": lambda m: m._text("<I"),
    b"\x8c": lambda m: m._text("<B"),
    b"\x8d": lambda m: m._text("<Q"),
    b"B": lambda m: m._push(m._sized("<I")),
    b"C": lambda m: m._push(m._sized("<B")),
    b"\x8e": lambda m: m._push(m._sized("<Q")),
    b"\x96": lambda m: m._push(m._sized("<Q")),
    b")": lambda m: m._push(()),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"t": lambda m: m._push(tuple(m._marked())),
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._marked()),
    b"a": lambda m: m._append([m._stack.pop()]),
    b"e": lambda m: m._append(m._marked()),
    b"}": lambda m: m._push({}),
    b"d": Machine._dict,
    b"s": Machine._set_item,
    b"u": lambda m: m._set_items(m._marked()),
    b"\x8f": lambda m: m._push(set()),
    b"\x90": Machine._add_items,
    b"\x91": Machine._frozen_set,
    b"g": lambda m: m._get(_whole(m._line())),
    b"h": lambda m: m._get(m._number("<B")),
    b"j": lambda m: m._get(m._number("<I")),
    b"p": lambda m: m._put(_whole(m._line())),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._reduce,
    b"\x81": Machine._reduce,
    b"\x92": Machine._new_object_keywords,
    b"i": Machine._instance,
    b"o": Machine._object,
    b"b": Machine._build,
    b"P": Machine._persistent_line,
    b"Q": Machine._persistent_value,
}
