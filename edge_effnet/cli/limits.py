"""--limit: fewer photos, drawn from all classes alike."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_effnet.cli.console import remark
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.values import positive
from edge_effnet.datasets import LabelledImage, draw_alike


def add_limit_options(parser: argparse.ArgumentParser, *, then: str = "") -> None:
    """--limit and --seed. then: what else a limit means."""
    parser.add_argument(
        "--limit", type=positive, metavar="N", help=f"only N photos, drawn from all classes alike{then}"
    )
    seed = parser.add_argument("--seed", type=int, default=0, help="for drawing them (default 0)")
    goes_with("without --limit N", seed)


def drawn(items: Sequence[LabelledImage], arguments: argparse.Namespace) -> list[LabelledImage]:
    """The photos that --limit leaves; says how they were drawn."""
    chosen = draw_alike(items, arguments.limit, seed=arguments.seed)
    if len(chosen) < len(items):
        remark(f"{len(chosen):,} of {len(items):,} photos, drawn from all classes alike by seed {arguments.seed}")
    return chosen
