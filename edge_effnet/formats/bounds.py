"""How much a model may need while it runs: the sides of its image, and what lives at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

#: Pixels of an image's side; the largest EfficientNet (L2) takes 800.
MOST_SIDE = 4096
#: Bytes of the tensors that are computed and still needed, at the worst moment.
MOST_LIVE_BYTES = 512 << 20


def live_bytes(
    steps: Sequence[tuple[Iterable[int], Iterable[int]]], sizes: Mapping[int, int], kept: Iterable[int]
) -> int:
    """The most bytes that live at once while steps (inputs, outputs) run in order, each tensor from its making to its
    last use. sizes: of computed tensors, the model's inputs among them; kept: those that live to the end.
    """
    last = {tensor: place for place, (inputs, _) in enumerate(steps) for tensor in inputs}
    last.update(dict.fromkeys(kept, len(steps)))
    made = {tensor for _, outputs in steps for tensor in outputs}
    now = sum(size for tensor, size in sizes.items() if tensor not in made)
    most = now
    for place, (inputs, outputs) in enumerate(steps):
        now += sum(sizes.get(tensor, 0) for tensor in outputs)
        most = max(most, now)
        now -= sum(sizes.get(tensor, 0) for tensor in {*inputs, *outputs} if last.get(tensor, place) == place)
    return most
