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
from edge_effnet.exporters.families.dialects import ANCHORS
from edge_effnet.exporters.inputs.modules import fields_of, plain_name, state_dict_of
from edge_effnet.exporters.inputs.records import Record
from edge_effnet.exporters.inputs.stored import StoredTensor

_MAX_NODES, _MAX_DEPTH, _MAX_LISTED = 200_000, 8, 8
#: In one mapping, and pickled modules in one file.
_MAX_NETWORKS = 16
#: Names of averages over training, which evaluate better than the weights they were taken of.
_AVERAGED = re.compile(r"(?:^|[._/ -])(?:ema|swa|avg|averaged?|shadow)(?:$|[._/ -])", re.IGNORECASE)

#: Keys of what an optimizer keeps of each weight.
_OF_OPTIMIZER = re.compile(
    r"(?:^|[._ /-])(?:optim\w*|opt|exp_avg\w*|momentum_buffer|grads?|gradients)(?:$|[._ /-])", re.I
)


#: Part of a tensor's name → what training left in parts, and what puts it together.
_IN_PARTS = {
    r"\.weight_[guv]$": (
        "weights under weight_norm or spectral_norm",
        "after torch.nn.utils.remove_weight_norm(layer)",
    ),
    r"\.(?:weight|bias)_(?:orig|mask)$": ("pruned weights", "after torch.nn.utils.prune.remove(layer, 'weight')"),
    r"\.parametrizations\.": ("parametrized weights", "after torch.nn.utils.parametrize.remove_parametrizations"),
    r"\.lora_[AB]\.|\.base_layer\.": ("weights with their LoRA beside them", "what merge_and_unload() gives"),
    r"weight_fake_quant|activation_post_process": ("weights for quantization-aware training", "the float network"),
}


@dataclass(frozen=True, eq=False)
class _Holder:
    """A mapping that may hold a network: its place, the module it is of, and what it lies in."""

    name: str
    tensors: Mapping[Any, Any]
    module: Any
    around: tuple[Any, ...]


@dataclass(frozen=True)
class Found:
    """One network in a file: where (dotted keys, "" at the top), its tensors by name, the pickled module they are of.

    outside: tensors beside it that don't begin with its prefix. around: what it lies in, outermost first.
    """

    name: str
    tensors: Mapping[str, Any]
    prefix: str = ""
    module: Any = None
    outside: Mapping[str, Any] = field(default_factory=dict, repr=False)
    around: tuple[Any, ...] = field(default=(), repr=False)

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
    found = _without_moments([network for holder in holders for network in _networks(holder)])
    found = _different(found)
    if not found:
        found = [_most_tensors(content, holders, origin)]
    if weights is not None:
        return _said(found, weights, origin), ()
    if len(found) == 1:
        return found[0], _remarks(found[0])
    averaged = [network for network in found if _AVERAGED.search(_name(network))]
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


def _holders(content: Any) -> Iterator[_Holder]:
    """Every mapping in a value, breadth first; each once, whatever holds itself."""
    waiting: deque[tuple[str, Any, tuple[Any, ...]]] = deque([("", content, ())])
    seen: set[int] = set()
    modules = 0
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        name, value, around = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if fields_of(value) is not None:
            modules += 1
            if modules > _MAX_NETWORKS:
                return
            yield _Holder(name, state_dict_of(value), value, around)
            continue
        if isinstance(value, Mapping):
            yield _Holder(name, value, None, around)
            if any(_is_anchor(key) for key in value):
                continue
        if len(around) < _MAX_DEPTH:
            waiting.extend((_joined(name, key), part, (*around, value)) for key, part in _parts(value))


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
    return isinstance(key, str) and plain_name(key).endswith(ANCHORS) and _anchor(plain_name(key)) is not None


def _anchor(name: str) -> str | None:
    return next((anchor for anchor in ANCHORS if name == anchor or name.endswith(f".{anchor}")), None)


def _may_be_weights(value: Any) -> bool:
    """Not the shape of one (DeepSpeed's `param_shapes`), nor an optimizer's state of it."""
    return is_tensor(value) or isinstance(value, Record)


def _networks(holder: _Holder) -> Iterator[Found]:
    """One for each first convolution, with what begins as its name does; a stray tensor beside a wrapper is none."""
    anchors = (key for key, value in holder.tensors.items() if _is_anchor(key) and _may_be_weights(value))
    for key in islice(anchors, _MAX_NETWORKS):
        first = str(_anchor(plain_name(key))).partition(".")[0]
        yield _under(holder, key[: f".{key}".rindex(f".{first}.")])


def _under(holder: _Holder, prefix: str) -> Found:
    texts = {key: value for key, value in holder.tensors.items() if isinstance(key, str)}
    own = {plain_name(key[len(prefix) :]): value for key, value in texts.items() if key.startswith(prefix)}
    beside = {
        str(key): value for key, value in holder.tensors.items() if is_tensor(value) and not str(key).startswith(prefix)
    }
    return Found(holder.name, own, prefix, holder.module, beside, _around(holder))


def _around(holder: _Holder) -> tuple[Any, ...]:
    """A module, or a state dict at the top, may have options beside its tensors."""
    if holder.module is not None:
        return (*holder.around, fields_of(holder.module))
    return holder.around or (holder.tensors,)


def _without_moments(found: list[Found]) -> list[Found]:
    """Without an optimizer's averages of gradients that go by the weights' names, where the weights are there, too."""
    return [network for network in found if not _OF_OPTIMIZER.search(network.name)] or found


def _different(found: list[Found]) -> list[Found]:
    """Without those whose tensors are the very same: a state dict beside the module it is of."""
    kept: dict[Any, Found] = {}
    for network in found:
        first = next(value for key, value in network.tensors.items() if key in ANCHORS)
        place = (id(first.storage), first.offset) if isinstance(first, StoredTensor) else id(first)
        if place not in kept or kept[place].module is None:
            kept[place] = network
    return list(kept.values())


def _most_tensors(content: Any, holders: list[_Holder], origin: str) -> Found:
    """No EfficientNet's names: the mapping with the most tensors, so that whoever identifies it says what they are."""
    counts = [sum(map(is_tensor, holder.tensors.values())) for holder in holders]
    if not counts or not max(counts):
        if not isinstance(content, Mapping):
            kind = content.kind if isinstance(content, Record) else type(content).__name__
            raise CheckpointError(f"{origin}: holds a {kind}; expected a state dict (model.state_dict())")
        keys = [str(key)[:40] for key in list(content)[:_MAX_LISTED] if isinstance(key, (str, int))]
        raise CheckpointError(f"{origin}: no weights found under {sorted(keys)}; expected a state dict, at any key")
    most = holders[counts.index(max(counts))]
    tensors = {str(key): value for key, value in most.tensors.items()}
    return Found(most.name, tensors, "", most.module, around=_around(most))


def check_whole(found: Found, origin: str) -> None:
    """Raises CheckpointError for weights that training keeps in parts, which say little each."""
    for pattern, (what, remedy) in _IN_PARTS.items():
        key = next((key for key in found.tensors if re.search(pattern, f".{key}")), None)
        if key is not None:
            raise CheckpointError(f"{origin}: holds {what} ({key!r:.80}); expected plain ones: save {remedy}")
