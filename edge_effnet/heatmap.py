"""Why a class: which parts of a photo speak for it.

Class activation maps (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016): in a network
that ends in global pooling and one dense layer, a class's logit is the mean over all positions of the last feature map
times the class's weights, plus its bias. So the map says exactly what each position adds. Where the layer reads the
means of further maps, as in learned files, theirs are added, brought to the last map's size.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.labels import label_of

if TYPE_CHECKING:
    from edge_effnet.classifier import Classifier
    from edge_effnet.decoding import ImageSource

Array = npt.NDArray[Any]
#: The part of the picture that `hottest_share` is about.
_HOTTEST = 0.1
_ENLARGED = 2
#: From cold to hot: dark blue, violet, red, orange, yellow.
_COLOURS = np.array([(10, 12, 60), (100, 20, 140), (210, 40, 70), (250, 140, 20), (255, 245, 120)], np.float64)
#: Share of the colour where it is coldest and hottest.
_OPACITY = (0.25, 0.7)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """values: float32[H, W], what each position of the network's view adds to the class's logit; their mean plus the
    bias is the logit.
    """

    index: int
    label: str
    values: Array
    logit: float

    @property
    def hottest_share(self) -> float:
        """Share of all that speaks for the class which lies in the hottest tenth of the view, 0..1."""
        found = np.sort(np.maximum(self.values.reshape(-1).astype(np.float64), 0))[::-1]
        total, whole = float(found.sum()), _HOTTEST * len(found)
        if total <= 0:
            return 0.0
        full = int(whole)
        part = float(found[full]) * (whole - full) if full < len(found) else 0.0
        return (float(found[:full].sum()) + part) / total

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"index": self.index, "label": self.label, "hottest_share": round(self.hottest_share, 4)}


class HeatmapMaker:
    """Makes heat maps with a classifier, which it uses and doesn't close. Raises ModelFileError for a network that
    doesn't end in global pooling and one dense layer.
    """

    def __init__(self, classifier: Classifier) -> None:
        from edge_effnet.formats.derived import dense_maps, head_of

        contents = classifier.contents()
        self._maps, head = dense_maps(contents), head_of(contents)
        if head is None or not classifier.head.has_classes:
            raise ModelFileError(f"{contents.name}: gives no classes; expected a network that does")
        self._classifier, self._head = classifier, head

    def of(self, image: ImageSource, *, index: int | None = None) -> Heatmap:
        """Of a class, by default the one with the largest logit. Raises UsageError, ImageError."""
        names = tuple(found.name for found in self._maps)
        _, *inner = self._classifier.inner(image, names)
        maps = [found.positions(values[0]) for found, values in zip(self._maps, inner, strict=True)]
        logits = self._head.logits(np.concatenate([values.mean(axis=(0, 1)) for values in maps])[None])[0]
        if index is None:
            index = int(np.argmax(logits))
        if not 0 <= index < len(logits):
            raise UsageError(f"class {index} has no weights of its own; expected 0 to {len(logits) - 1}")
        height, width, _ = maps[0].shape
        added, start = np.zeros((height, width), np.float32), 0
        for values in maps:
            weights = self._head.weights[index, start : start + values.shape[-1]]
            added += resized(values @ weights, (height, width))
            start += values.shape[-1]
        return Heatmap(index, label_of(index, self._classifier.labels), added, float(logits[index]))


def resized(values: Array, size: tuple[int, int]) -> Array:
    """float32[size] of float32[H, W]: each value the mean of the area it covers, so that the mean of all stays."""
    rows, columns = (_areas(old, new) for old, new in zip(values.shape, size, strict=True))
    found: Array = (rows @ values @ columns.T).astype(np.float32)
    return found


def _areas(old: int, new: int) -> Array:
    """float64[new, old]: how much of each old cell lies in each new one; rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    starts = np.arange(old)
    shared = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    found: Array = np.maximum(shared, 0) * (new / old)
    return found


def heatmap_jpeg(classifier: Classifier, image: ImageSource, heatmap: Heatmap) -> bytes:
    """The network's view of a photo in twice its size, coloured by what speaks for the class; a JPEG."""
    from PIL import Image

    from edge_effnet.decoding import decode

    view = classifier.preprocessing.view(decode(image, rules=classifier.image_rules)).convert("RGB")
    size = (view.width * _ENLARGED, view.height * _ENLARGED)
    heat = np.maximum(heatmap.values, 0)
    levels = Image.fromarray((heat / max(float(heat.max()), 1e-9)).astype(np.float32)).resize(
        size, Image.Resampling.BICUBIC
    )
    strength = np.clip(np.asarray(levels, np.float64), 0, 1)
    photo = np.asarray(view.resize(size, Image.Resampling.BICUBIC), np.float64)
    opacity = (_OPACITY[0] + (_OPACITY[1] - _OPACITY[0]) * strength)[..., None]
    mixed = photo * (1 - opacity) + _coloured(strength) * opacity
    content = io.BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def _coloured(strength: Array) -> Array:
    """float64[H, W, 3] of float64[H, W] in 0..1."""
    steps = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(strength, steps, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
