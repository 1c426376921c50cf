"""What quantization does: the choices, with what was measured to be best as their defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from edge_effnet.errors import UsageError

RangeMethod: TypeAlias = Literal["mean-min-max", "percentile", "mse"]
Rounding: TypeAlias = Literal["nearest", "output"]
BiasCorrection: TypeAlias = Literal["none", "weights", "weights-and-activations"]


@dataclass(frozen=True)
class Recipe:
    """One way to quantize. The defaults are the best known; `PLAIN` is what converters commonly do.

    ranges: "mse" weighs each channel's errors by what they do to the logits. equalise, swishes, gates: bring the
    channels of bottlenecks, of the noisiest swishes and of gates to one range. floats: leaves the stem's sum in float32
    where it pays, and the last activation before the pooling. coherent: ranges also count the errors that add up over
    a photo. rounding: "output" changes each layer's output least. output_shift: takes the output's mean error off its
    bias. lanes: share of the expected logit noise that splitting a block must save to be done; None splits none.
    *_images: how many of the photos each measurement looks at.
    """

    ranges: RangeMethod = "mse"
    weigh_channels: bool = True
    equalise: bool = True
    floats: bool = True
    swishes: bool = True
    gates: bool = True
    lanes: float | None = 0.015
    coherent: bool = True
    rounding: Rounding = "output"
    bias_correction: BiasCorrection = "weights-and-activations"
    output_shift: bool = True
    statistics_images: int = 256
    moments_images: int = 128
    sensitivity_images: int = 64
    output_images: int = 96

    def __post_init__(self) -> None:
        for value, kind in (
            (self.ranges, RangeMethod),
            (self.rounding, Rounding),
            (self.bias_correction, BiasCorrection),
        ):
            if value not in get_args(kind):
                raise UsageError(f"recipe: {value!r} is unknown; expected one of {', '.join(get_args(kind))}")
        if self.lanes is not None and not 0 <= self.lanes <= 1:
            raise UsageError(f"recipe: lanes {self.lanes}; expected a share of 0 to 1, or None")

    @property
    def needs_moments(self) -> bool:
        """Whether rounding or bias correction looks at how inputs vary together."""
        return self.rounding == "output" or self.bias_correction != "none"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for the document."""
        return asdict(self)


#: Mean of per-image min/max, nearest rounding, nothing else: the baseline.
PLAIN = Recipe(
    ranges="mean-min-max",
    weigh_channels=False,
    equalise=False,
    floats=False,
    swishes=False,
    gates=False,
    lanes=None,
    coherent=False,
    rounding="nearest",
    bias_correction="none",
    output_shift=False,
)
