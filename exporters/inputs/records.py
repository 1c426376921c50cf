"""What a pickle's objects become here, where nothing of them is made: names, records of state, unhashed keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


def plain(value: Any) -> Any:
    """What a record is a wrapper of, one level: an object's fields, a kind of dict or list, an OmegaConf value.

    A slot's state is (dict or None, dict); OmegaConf's mappings keep `_content`, its values `_val`.
    """
    if not isinstance(value, Record):
        return value
    state = value.state
    if isinstance(state, tuple) and len(state) == 2 and all(part is None or isinstance(part, dict) for part in state):
        state = {**(state[0] or {}), **(state[1] or {})}
    if isinstance(state, dict):
        for key in ("_content", "_val"):
            if key in state:
                return plain(state[key]) if key == "_val" else state[key]
    if value.pairs:
        return {**(state if isinstance(state, dict) else {}), **dict(value.pairs)}
    return state if isinstance(state, dict) else value.items or value
