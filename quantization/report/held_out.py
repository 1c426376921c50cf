"""Float against int8 on photos that were not calibrated on."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.comparison import Agreement, best_classes
from edge_effnet.deciding import agreement as alike_of
from edge_effnet.heads import PLAIN_HEAD, Head, decisions_of, scores_of
from edge_effnet.labels import label_of

Logits: TypeAlias = npt.NDArray[np.float32]
#: Photos that are shown, and the side they are shown at, in pixels.
_SHOWN, _THUMBNAIL = 8, 160
#: Two-sided 95 % of the normal distribution.
_Z = 1.959964


@dataclass(frozen=True)
class PhotoOutcome:
    """One photo's best class in float and in int8, each with its score; `kept`: int8's score for float's class.

    agrees: the same best class; of a sigmoid head: every class decided alike. truth: its folder's name where that is
    one of the labels, otherwise None.
    """

    name: str
    float_label: str
    float_score: float
    int8_label: str
    int8_score: float
    kept: float
    agrees: bool
    truth: str | None = None


@dataclass(frozen=True)
class ShownPhoto:
    """A photo whose answer changed most, with a thumbnail of what the network sees, as a data URI."""

    outcome: PhotoOutcome
    thumbnail: str


@dataclass(frozen=True)
class HeldOut:
    """The measurement. agreement_interval: 95 % of the top-1 agreement (Wilson), what so few photos can tell.

    decision_agreement: of a sigmoid head, the share of classes decided alike. drift: mean of int8's minus float's score
    for float's class. engine: what ran the two models. note: where the photos come from. float_top1, int8_top1:
    accuracy, 0..1, where all photos lie in folders that are labels, else None.
    """

    images: int
    engine: str
    note: str
    top1_agreement: float
    agreement_interval: tuple[float, float]
    top5_agreement: float
    mean_abs_score_difference: float
    logit_sqnr_db: float | None
    float_confidence: float
    int8_confidence: float
    drift: float
    photos: tuple[PhotoOutcome, ...]
    worst: tuple[ShownPhoto, ...]
    float_top1: float | None = None
    int8_top1: float | None = None
    decision_agreement: float | None = None


def compare_answers(
    exact: Logits,
    rounded: Logits,
    *,
    head: Head = PLAIN_HEAD,
    sources: Sequence[Any],
    squares: Sequence[npt.NDArray[np.uint8]],
    labels: Sequence[str] | None,
    engine: str,
    note: str,
) -> HeldOut:
    """From both networks' logits, float32[N, C], for the same prepared photos of these sources (paths or not)."""
    agreement, outcomes = Agreement(), []
    decisions = decisions_of(head, exact.shape[1], labels)
    for number, (source, one, other) in enumerate(zip(sources, exact, rounded, strict=True), 1):
        scores = scores_of(head, one, decisions), scores_of(head, other, decisions)
        alike = float(alike_of(head, one[None], other[None])[0]) if head.kind == "sigmoid" else None
        agreement.add(one, other, *scores, alike=alike)
        outcome = _outcome(_name(source, number), scores, labels, alike)
        outcomes.append(replace(outcome, truth=_truth(source, labels)))
    order = sorted(
        range(len(outcomes)),
        key=lambda index: (outcomes[index].agrees, -abs(outcomes[index].kept - outcomes[index].float_score), index),
    )
    labelled = all(outcome.truth is not None for outcome in outcomes)
    return HeldOut(
        engine=engine,
        note=note,
        agreement_interval=wilson_interval(agreement.top1, agreement.images),
        float_confidence=_mean(outcome.float_score for outcome in outcomes),
        int8_confidence=_mean(outcome.int8_score for outcome in outcomes),
        drift=_mean(outcome.kept - outcome.float_score for outcome in outcomes),
        photos=tuple(outcomes),
        worst=tuple(ShownPhoto(outcomes[index], _thumbnail(squares[index])) for index in order[:_SHOWN]),
        float_top1=_mean(one.float_label == one.truth for one in outcomes) if labelled else None,
        int8_top1=_mean(one.int8_label == one.truth for one in outcomes) if labelled else None,
        **agreement.to_dict(),
    )


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson, 1927); 0 to 1 without trials."""
    if not trials:
        return 0.0, 1.0
    share, weight = hits / trials, _Z**2 / trials
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def _outcome(
    name: str,
    scores: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    labels: Sequence[str] | None,
    alike: float | None,
) -> PhotoOutcome:
    first, second = (best_classes(found)[0] for found in scores)
    return PhotoOutcome(
        name=name,
        float_label=label_of(first, labels),
        float_score=float(scores[0][first]),
        int8_label=label_of(second, labels),
        int8_score=float(scores[1][second]),
        kept=float(scores[1][first]),
        agrees=first == second if alike is None else alike == 1,
    )


def _name(source: Any, number: int) -> str:
    return Path(source).name if hasattr(source, "__fspath__") or isinstance(source, str) else f"photo {number}"


def _truth(source: Any, labels: Sequence[str] | None) -> str | None:
    """The label that a photo's folder is called by, whatever the case."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    folder = Path(source).parent.name.casefold()
    return next((label for label in labels or () if label.casefold() == folder), None)


def _thumbnail(square: npt.NDArray[np.uint8]) -> str:
    """A data URI of a small JPEG: what the network sees."""
    from PIL import Image

    file = io.BytesIO()
    grey = square.shape[2] == 1
    small = Image.fromarray(square[:, :, 0] if grey else square).resize(
        (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BICUBIC
    )
    small.save(file, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
