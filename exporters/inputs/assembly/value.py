"""A tensor as the file being read sees it, and what is still to be done to the graph's tensor behind it.

Per-channel factors, shifts and paddings stay pending until an operator takes them in: that folds batch norm, explicit
pads and normalisations without a pattern for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import OperatorError
from edge_effnet.network.geometry import NO_PADDING, Padding

Floats: TypeAlias = npt.NDArray[np.float64]
#: Layouts of a tensor with so many axes.
_LAYOUTS = {1: ("C",), 2: ("NC",), 3: ("NCW", "NWC"), 4: ("NCHW", "NHWC")}
#: numpy sees no larger tensors in an image classifier.
MAX_ELEMENTS = 1 << 28
#: A flattened image that has factors for each element is a last layer's input.
_MAX_FLATTENED = 1 << 20


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph behind what the file has done to it since: the image `node`, then factors, then a border.

    node: tensor [1, H, W, C] of the graph. height, width, channels: after the border. axes: what each of the file's
    axes is ("NCHW"); "NC" with more than one pixel is a flattened image, its elements in the order `order`.
    scale, shift: float64[C], or one for each element of a flattened image. border: float64[C] around `padding`.
    """

    node: str
    axes: str
    height: int
    width: int
    channels: int
    order: str = "HWC"
    scale: Floats | None = None
    shift: Floats | None = None
    padding: Padding = NO_PADDING
    border: Floats | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides as the file sees them, for one image."""
        if self.flattened:
            return (1, self.elements)
        sides = {"N": 1, "H": self.height, "W": self.width, "C": self.channels}
        return tuple(sides[axis] for axis in self.axes)

    @property
    def elements(self) -> int:
        """Numbers for one image."""
        return self.height * self.width * self.channels

    @property
    def flattened(self) -> bool:
        """Whether more than one pixel lies in one axis."""
        return self.axes == "NC" and self.height * self.width > 1

    @property
    def factors(self) -> tuple[Floats, Floats]:
        """(scale, shift), ones and zeros where there are none."""
        count = self._factor_count
        scale = np.ones(count) if self.scale is None else self.scale
        return scale, np.zeros(count) if self.shift is None else self.shift

    @property
    def _factor_count(self) -> int:
        """So many factors and shifts there are; raises OperatorError for too many."""
        if self.flattened and self.elements > _MAX_FLATTENED:
            refuse(f"arithmetic on a flattened image of {self.elements:,} values", f"at most {_MAX_FLATTENED:,}")
        return self.elements if self.flattened else self.channels

    @property
    def plain(self) -> bool:
        """Whether nothing is pending."""
        return self.scale is None and self.padding == NO_PADDING

    def channel_vector(self, constant: npt.NDArray[Any], what: str) -> Floats:
        """A constant that broadcasts against this tensor as float64[C]; raises OperatorError where it isn't per
        channel.
        """
        values, count = np.asarray(constant, np.float64), self._factor_count
        if values.size == 1:
            return np.full(count, float(values.reshape(-1)[0]))
        place = len(self.axes) - self.axes.index("C")
        sides = list(values.shape)
        if values.size == count and len(sides) >= place and sides[-place] == count:
            return values.reshape(-1)
        refuse(f"{what} with a constant of the shape {sides} on {list(self.shape)}", "one number, or one a channel")

    def reshaped(self, shape: Sequence[int], layout: str) -> Value:
        """The same elements under another shape: sides of 1 come and go, or all becomes one axis.

        layout: the file's own, for shapes that don't tell ("NCHW").
        """
        wanted = resolved_shape(shape, self.elements)
        if self.flattened:
            if tuple(wanted) == self.shape:
                return self
            refuse(f"a flattened image turned into {list(wanted)}", "a dense layer behind it")
        sides = {"H": self.height, "W": self.width, "C": self.channels}
        for axes in sorted(_LAYOUTS.get(len(wanted), ()), key=lambda axes: axes[1:] not in layout):
            given = dict(zip(axes, wanted, strict=True))
            if all(given.get(axis, 1) == side for axis, side in sides.items()) and given.get("N", 1) == 1:
                return replace(self, axes=axes)
        if len(wanted) == 2 and wanted[0] == 1 and len(self.axes) == 4:
            return replace(self, axes="NC", order=self.axes[1:])
        refuse(f"{list(self.shape)} reshaped to {list(wanted)}", "sides of 1 dropped or added, or all flattened")

    def transposed(self, order: Sequence[int]) -> Value:
        """The file's axes in another order."""
        order = [index % len(self.axes) for index in order]
        if sorted(order) != list(range(len(self.axes))) or self.flattened:
            refuse(f"a transposition {list(order)} of {list(self.shape)}", "every axis once")
        return replace(self, axes="".join(self.axes[index] for index in order))


def resolved_shape(shape: Sequence[int], elements: int) -> tuple[int, ...]:
    """A shape with its -1 worked out; raises OperatorError where the elements don't fit."""
    known = math.prod(side for side in shape if side != -1)
    wanted = tuple(elements // known if side == -1 and known else int(side) for side in shape)
    if math.prod(wanted) != elements or list(shape).count(-1) > 1 or min(wanted, default=1) < 0:
        refuse(f"{elements} values reshaped to {list(shape)}", "as many")
    return wanted


def refuse(what: str, expected: str) -> NoReturn:
    """Raises OperatorError for what the operator table has no place for."""
    raise OperatorError(
        f"the network computes {what}, which no operator here does; expected {expected}. If it's meant for training "
        "only, save the network in evaluation mode"
    )
