"""Learned refinement of an int8 network: rounding, biases, gains and ranges trained to the float network's own answers.

Unlabelled photos suffice. Needs torch (extra `refine`), imported when `refine` or `check_refinement` is called.
"""

from __future__ import annotations

from edge_effnet.errors import MissingDependencyError, UsageError
from edge_effnet.heads import HeadKind
from edge_effnet.network.graph import Graph
from edge_effnet.quantization.measure.calibration import CalibrationSet
from edge_effnet.quantization.records import Progress, QuantizedGraph
from edge_effnet.quantization.refine.plan import plan, plan_steps
from edge_effnet.quantization.refine.record import Refinement

__all__ = ["DEFAULT_MINUTES", "Refinement", "check_refinement", "refine"]

#: What the default export takes for it: B0 on two idle cores.
DEFAULT_MINUTES = 5.0
_MOST_MINUTES = 24 * 60


def check_refinement(minutes: float) -> None:
    """Raises UsageError for minutes that can't be meant, MissingDependencyError without torch."""
    if not 0 < minutes <= _MOST_MINUTES:
        raise UsageError(f"refinement of {minutes:g} minutes; expected more than 0, and a day at most, or --quick")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"learned refinement needs torch, and it can't be imported ({error}): pip install 'edge-effnet[refine]', "
            "or leave it out: --quick"
        ) from error


def refine(
    quantized: QuantizedGraph,
    exact: Graph,
    *,
    photos: CalibrationSet,
    minutes: float = DEFAULT_MINUTES,
    steps: int | None = None,
    seed: int = 0,
    head: HeadKind = "softmax",
    progress: Progress | None = None,
) -> tuple[QuantizedGraph, Refinement]:
    """The quantized network with its logits and bottlenecks closer to the float network's, and what was gained.

    exact: the float graph `quantized` was rounded from, node by node (`QuantizationTrace.graph`). photos: what was
    calibrated on; some are held out, and of all states they saw, the one with the least error in the logits is given:
    never a worse one than the first. minutes: on two idle cores; it becomes a number of steps by the network's size, so
    that the same arguments give the same result on one machine however busy it is. steps: says them outright.
    head: what the logits are for, so that those count more that decide.
    Ctrl-C ends it with what was reached. Raises UsageError, MissingDependencyError, OperatorError.

    The method is reconstruction (Li et al., BRECQ, arXiv 2102.05426) of all blocks at once, with rounding learned
    straight through (Nagel et al., arXiv 2004.10568, learn it by another relaxation) and ranges as in LSQ (Esser et
    al., arXiv 1902.08153).
    """
    check_refinement(minutes)
    from edge_effnet.quantization.refine.train import train

    count = len(photos)
    chosen = plan(exact, minutes=minutes, photos=count) if steps is None else plan_steps(steps, photos=count)
    return train(quantized, exact, photos=photos, plan=chosen, seed=seed, head=head, progress=progress)
