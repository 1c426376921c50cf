"""Finding the trained network in what a trainer saved: by its structure, at any key, one level or several down."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs.modules import fields_of, state_dict_of
from edge_effnet.exporters.inputs.records import Record
from edge_effnet.exporters.inputs.stored import StoredTensor

#: The first convolution's key in each dialect; what stands before it is a prefix some wrapper added.
ANCHORS = ("conv_stem.weight", "_conv_stem.weight", "features.0.0.weight")
_MAX_NODES, _MAX_DEPTH, _MAX_LISTED = 200_000, 8, 8
#: In one mapping, and pickled modules in one file.
_MAX_NETWORKS = 16
#: Names of averages over training, which evaluate better than the weights they were taken of.
_AVERAGED = re.compile(r"(?:^|[._/ -])(?:ema|swa|avg|averaged?|shadow)(?:$|[._/ -])", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """One network in a file: where (dotted keys, "" at the top), its tensors by name, the pickled module they are of.

    outside: tensors beside it that don't begin with its prefix.
    """

    name: str
    tensors: Mapping[str, Any]
    prefix: str = ""
    module: Any = None
    outside: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of what lies outside."""
        return tuple(self.outside)


def is_tensor(value: Any) -> bool:
    """A stored tensor, an array, or a torch tensor."""
    return isinstance(value, (StoredTensor, np.ndarray)) or (hasattr(value, "detach") and hasattr(value, "numpy"))


def find_network(content: Any, *, weights: str | None, origin: str) -> tuple[Found, tuple[str, ...]]:
    """The network and remarks on what was chosen. weights: a key that says which of several.

    Raises CheckpointError when there is none, or several and nothing says which; UsageError for an unknown key.
    """
    holders = list(_holders(content))
    found = _different([network for name, tensors, module in holders for network in _networks(name, tensors, module)])
    if not found:
        found = [_most_tensors(content, holders, origin)]
    if weights is not None:
        return _said(found, weights, origin), ()
    if len(found) == 1:
        return found[0], _remarks(found[0])
    averaged = [network for network in found if _AVERAGED.search(network.name)]
    if len(averaged) != 1 or len(found) != 2:
        raise CheckpointError(
            f"{origin}: holds {len(found)} networks, under {_listed(found)}; say which: --weights {_name(found[0])}"
        )
    other = next(network for network in found if network is not averaged[0])
    return averaged[0], (*_remarks(averaged[0]), f"an average; those it is of: --weights {_name(other)}")


def _remarks(network: Found) -> tuple[str, ...]:
    return (f"took the weights under {network.name!r}",) if network.name else ()


def _name(network: Found) -> str:
    return ".".join(part for part in (network.name, network.prefix.rstrip(".")) if part) or "''"


def _listed(found: list[Found]) -> str:
    names = [repr(_name(network)) for network in found[:_MAX_LISTED]]
    return ", ".join(names) + (" …" if len(found) > _MAX_LISTED else "")


def _said(found: list[Found], weights: str, origin: str) -> Found:
    """The one network whose place is, or holds, the key."""
    exact = [network for network in found if _name(network) == weights]
    within = [network for network in found if f".{weights}." in f".{_name(network)}."]
    chosen = exact or within
    if len(chosen) != 1:
        what = f"fits {len(chosen)} networks" if chosen else "is no network's"
        raise UsageError(f"{origin}: --weights {weights!r} {what}; there are {_listed(found)}")
    return chosen[0]


def _holders(content: Any) -> Iterator[tuple[str, Mapping[Any, Any], Any]]:
    """(name, mapping, module or None) of every mapping in a value, breadth first; each once, whatever holds itself."""
    waiting: deque[tuple[str, Any, int]] = deque([("", content, 0)])
    seen: set[int] = set()
    modules = 0
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        name, value, depth = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if fields_of(value) is not None:
            modules += 1
            if modules > _MAX_NETWORKS:
                return
            yield name, state_dict_of(value), value
            continue
        if isinstance(value, Mapping):
            yield name, value, None
            if any(_is_anchor(key) for key in value):
                continue
        if depth < _MAX_DEPTH:
            waiting.extend((_joined(name, key), part, depth + 1) for key, part in _parts(value))


def _joined(name: str, key: Any) -> str:
    part = key if isinstance(key, str) else str(key) if isinstance(key, int) else type(key).__name__
    return f"{name}.{part[:80]}" if name else part[:80]


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """What else may hold a network: values of mappings and records, and short lists."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, Record):
        items = [*(value.state.items() if isinstance(value.state, dict) else ()), *value.pairs]
    elif isinstance(value, (list, tuple)) and len(value) <= _MAX_LISTED:
        items = enumerate(value)
    else:
        return
    yield from ((key, part) for key, part in items if isinstance(part, (Mapping, Record, list, tuple)))


def _is_anchor(key: Any) -> bool:
    return isinstance(key, str) and any(key == anchor or key.endswith(f".{anchor}") for anchor in ANCHORS)


def _networks(name: str, tensors: Mapping[Any, Any], module: Any) -> Iterator[Found]:
    """One for each first convolution, with what begins as its name does; a stray tensor beside a wrapper is none."""
    for key in islice(filter(_is_anchor, tensors), _MAX_NETWORKS):
        anchor = max((anchor for anchor in ANCHORS if key.endswith(anchor)), key=len)
        yield _under(name, key.removesuffix(anchor), tensors, module)


def _under(name: str, prefix: str, tensors: Mapping[Any, Any], module: Any) -> Found:
    own = {
        key[len(prefix) :]: value for key, value in tensors.items() if isinstance(key, str) and key.startswith(prefix)
    }
    beside = {str(key): value for key, value in tensors.items() if is_tensor(value) and not str(key).startswith(prefix)}
    return Found(name, own, prefix, module, beside)


def _different(found: list[Found]) -> list[Found]:
    """Without those whose tensors are the very same: a state dict beside the module it is of."""
    kept: dict[Any, Found] = {}
    for network in found:
        first = next(value for key, value in network.tensors.items() if key in ANCHORS)
        place = (id(first.storage), first.offset) if isinstance(first, StoredTensor) else id(first)
        if place not in kept or kept[place].module is None:
            kept[place] = network
    return list(kept.values())


def _most_tensors(content: Any, holders: list[tuple[str, Mapping[Any, Any], Any]], origin: str) -> Found:
    """No EfficientNet's names: the mapping with the most tensors, so that whoever identifies it says what they are."""
    counts = [sum(map(is_tensor, tensors.values())) for _, tensors, _ in holders]
    if not counts or not max(counts):
        if not isinstance(content, Mapping):
            kind = content.kind if isinstance(content, Record) else type(content).__name__
            raise CheckpointError(f"{origin}: holds a {kind}; expected a state dict (model.state_dict())")
        keys = [str(key)[:40] for key in list(content)[:_MAX_LISTED] if isinstance(key, (str, int))]
        raise CheckpointError(f"{origin}: no weights found under {sorted(keys)}; expected a state dict, at any key")
    name, tensors, module = holders[counts.index(max(counts))]
    return Found(name, {str(key): value for key, value in tensors.items()}, "", module)
