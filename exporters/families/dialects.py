"""How each implementation names its tensors: a small grammar, read and written.

Canonical names: `stem`, `blocks.N.expand|depthwise|se.reduce|se.expand|project`, `head`; each followed by `.weight`,
`.bias` or `.bn.weight|bias|running_mean|running_var`.
Sources: timm 1.0 (`_efficientnet_blocks.py`, `efficientnet.py`), torchvision 0.29 (`models/efficientnet.py`),
efficientnet-pytorch 0.7.1 (`model.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge_effnet.exporters.families.records import BlockKind

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
#: Canonical part of a block → the names of its convolution and its batch norm (None: a bias of its own).
Form = Mapping[str, tuple[str, str | None]]
GATE = ("se.reduce", "se.expand")


@dataclass(frozen=True)
class Naming:
    """One implementation's names.

    stem, head: convolution and batch norm; "{last}" is the index after the last stage. block: what stands before a
    block's names, made of {stage}, {position} or {index}; `first_stage` is the number of stage 0, and there are no
    stages in names that have none. forms: a block's names by its kind, with and without the gate.
    """

    stem: tuple[str, str]
    head: tuple[str, str]
    block: str
    forms: Mapping[tuple[BlockKind, bool], Form]
    classifier: str
    first_stage: int = 0

    @property
    def has_stages(self) -> bool:
        """Whether a block's name says which stage it belongs to."""
        return "{stage}" in self.block

    def owns(self, key: str) -> bool:
        """Whether the key is one of the first convolution, or of a block."""
        return key.startswith((f"{self.stem[0]}.", self.block.partition("{")[0]))

    def prefix(self, stage: int, position: int, index: int) -> str:
        """What stands before the names of one block."""
        return self.block.format(stage=stage + self.first_stage, position=position, index=index)

    def pattern(self) -> re.Pattern[str]:
        """Matches a key of a block: stage and position, or index, and what is named in the block."""
        parts = re.split(r"\{\w+\}", self.block)
        return re.compile(r"(\d+)".join(map(re.escape, parts)) + r"(.+)")


def _forms(text: str, *, gate: str = "") -> dict[tuple[BlockKind, bool], Form]:
    """One line a form: its kind, "gated" where there is a gate, and part=convolution[+batch norm] …; GATE is `gate`."""
    found: dict[tuple[BlockKind, bool], Form] = {}
    for line in text.replace("GATE", gate).strip().splitlines():
        kind, gated, *parts = line.split()
        form = {}
        for part in parts:
            name, _, keys = part.partition("=")
            conv, _, norm = keys.partition("+")
            form[name] = (conv, norm or None)
        found[kind, gated == "gated"] = MappingProxyType(form)  # type: ignore[index]
    return found


TIMM = Naming(
    stem=("conv_stem", "bn1"),
    head=("conv_head", "bn2"),
    block="blocks.{stage}.{position}.",
    forms=_forms(
        """
        mbconv gated expand=conv_pw+bn1 depthwise=conv_dw+bn2 GATE project=conv_pwl+bn3
        mbconv plain expand=conv_pw+bn1 depthwise=conv_dw+bn2 project=conv_pwl+bn3
        separable gated depthwise=conv_dw+bn1 GATE project=conv_pw+bn2
        separable plain depthwise=conv_dw+bn1 project=conv_pw+bn2
        fused plain expand=conv_exp+bn1 project=conv_pwl+bn2
        plain plain expand=conv+bn1
    """,
        gate="se.reduce=se.conv_reduce se.expand=se.conv_expand",
    ),
    classifier="classifier",
)
TORCHVISION = Naming(
    stem=("features.0.0", "features.0.1"),
    head=("features.{last}.0", "features.{last}.1"),
    block="features.{stage}.{position}.block.",
    forms=_forms("""
        mbconv gated expand=0.0+0.1 depthwise=1.0+1.1 se.reduce=2.fc1 se.expand=2.fc2 project=3.0+3.1
        separable gated depthwise=0.0+0.1 se.reduce=1.fc1 se.expand=1.fc2 project=2.0+2.1
        fused plain expand=0.0+0.1 project=1.0+1.1
        plain plain expand=0.0+0.1
    """),
    classifier="classifier",
    first_stage=1,
)
LUKEMELAS = Naming(
    stem=("_conv_stem", "_bn0"),
    head=("_conv_head", "_bn1"),
    block="_blocks.{index}.",
    forms=_forms(
        """
        mbconv gated expand=_expand_conv+_bn0 depthwise=_depthwise_conv+_bn1 GATE project=_project_conv+_bn2
        mbconv plain expand=_expand_conv+_bn0 depthwise=_depthwise_conv+_bn1 project=_project_conv+_bn2
        separable gated depthwise=_depthwise_conv+_bn1 GATE project=_project_conv+_bn2
        separable plain depthwise=_depthwise_conv+_bn1 project=_project_conv+_bn2
    """,
        gate="se.reduce=_se_reduce se.expand=_se_expand",
    ),
    classifier="_fc",
)
#: Dialect → its names. timm and timm-tf have the same: a file alone can't tell them apart.
DIALECTS = MappingProxyType({"timm": TIMM, "timm-tf": TIMM, "torchvision": TORCHVISION, "lukemelas": LUKEMELAS})
#: The first convolution's key in each dialect; what stands before it is a prefix some wrapper added.
ANCHORS = tuple(dict.fromkeys(f"{naming.stem[0]}.weight" for naming in DIALECTS.values()))


def dialects_of(keys: Iterable[str]) -> tuple[str, ...]:
    """The dialects whose first convolution or blocks have such keys; () where none's have."""
    names = tuple(keys)
    found = next((naming for naming in DIALECTS.values() if any(map(naming.owns, names))), None)
    return tuple(dialect for dialect, naming in DIALECTS.items() if naming is found)
