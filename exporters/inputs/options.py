"""What the user may say about an input that says the rest itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_effnet.exporters.settings import PreprocessingOptions


@dataclass(frozen=True)
class InputOptions:
    """None everywhere means: as the input says.

    image_size: (height, width) in pixels, for inputs that take any. preprocessing: laid over what the input says.
    weights: which of several networks in a file, by its key. revision: of a repository on a hub.
    """

    image_size: tuple[int, int] | None = None
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)
    weights: str | None = None
    source: str | None = None
    variant: str | None = None
    padding_size: int | None = None
