"""What the user may say about an input, whatever form it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_effnet.errors import UsageError
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.framing import Size
from edge_effnet.heads import Head, HeadKind, Output


@dataclass(frozen=True)
class FoundLabels:
    """Class names that a file brings. where: in words, for a message."""

    where: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class InputOptions:
    """None everywhere means: as it is found.

    source: a dialect or a published model name. variant: a key of VARIANTS. weights: the key of the network to take
    where a file holds several. image_size: (height, width). padding_size: the size an efficientnet-pytorch model, or
    the base in Keras weights alone, was built for. head: what the outputs mean; "features" cuts the head off.
    head_activation: between linear layers, where the input doesn't say (`activations.HEAD_ACTIVATIONS`). output:
    whether the file is to end in softmax or sigmoid. labels: said by the user; found_labels: what files say
    (`label_sources.settled_labels` chooses).
    """

    source: str | None = None
    variant: str | None = None
    weights: str | None = None
    image_size: Size | None = None
    padding_size: int | None = None
    head: HeadKind | None = None
    head_activation: str | None = None
    output: Output = "logits"
    thresholds: tuple[float, ...] | None = None
    labels: Sequence[str] | None = None
    found_labels: tuple[FoundLabels, ...] = ()
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)

    def resolve_head(self, found: HeadKind, *, outputs: int) -> Head:
        """What is said over what was found; one output that nothing says more of is a sigmoid."""
        kind = self.head or ("sigmoid" if found == "softmax" and outputs == 1 else found)
        return Head(kind, self.output, self._thresholds(kind, outputs))

    def _thresholds(self, kind: HeadKind, outputs: int) -> tuple[float, ...] | None:
        """One stands for all; none where the head isn't a sigmoid."""
        said = self.thresholds
        if said is None:
            return None
        if kind != "sigmoid" or len(said) not in (1, outputs):
            raise UsageError(
                f"{len(said)} thresholds don't fit a {kind} head of {outputs} outputs; expected one, or one a class, "
                "of a sigmoid head"
            )
        return said * outputs if len(said) == 1 else said
